//! What lies beyond this machine.

use std::io::Read;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A proxy that lets nothing through, and notes what it was asked for.
pub(crate) struct Outside {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
    stopped: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl Outside {
    pub(crate) fn watch() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let stopped = Arc::new(AtomicBool::new(false));
        let acceptor = {
            let (asked, stopped) = (Arc::clone(&asked), Arc::clone(&stopped));
            thread::spawn(move || {
                for stream in listener.incoming() {
                    if stopped.load(Ordering::Relaxed) {
                        return;
                    }
                    let Ok(mut stream) = stream else { continue };
                    let mut first = [0; 512];
                    let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
                    let length = stream.read(&mut first).unwrap_or_default();
                    let text = String::from_utf8_lossy(&first[..length]).into_owned();
                    let line = text.lines().next().unwrap_or("a connection").to_owned();
                    asked.lock().unwrap().push(line);
                }
            })
        };
        Self {
            port,
            asked,
            stopped,
            acceptor: Some(acceptor),
        }
    }

    /// What brings a program here.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        let proxy = format!("http://127.0.0.1:{}", self.port);
        let here = "127.0.0.1,localhost".to_owned();
        let mut all: Vec<_> = ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"]
            .map(|name| (name, proxy.clone()))
            .into();
        all.push(("NO_PROXY", here.clone()));
        all.push(("no_proxy", here));
        all
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        // accept() has no other way to learn of it.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}
