//! Name servers that are silent: every caller has its answer in its time, and all of them together ask twice at most.

use std::fs;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use gatepass_testkit::lab::{Person, PolicyFolder, Scene};
use gatepass_testkit::provider::{self, Provider};

use crate::GATEPASS;

/// A name server that notes what it is asked and answers nothing.
struct Silent {
    /// The names that were asked for, once for each look-up: only questions for IPv4 addresses count.
    asked: Arc<Mutex<Vec<Vec<u8>>>>,
    over: Arc<AtomicBool>,
}

impl Silent {
    fn start(address: &str) -> Option<Self> {
        let socket = UdpSocket::bind((address, 53)).ok()?;
        socket
            .set_read_timeout(Some(Duration::from_millis(200)))
            .unwrap();
        let silent = Self {
            asked: Arc::default(),
            over: Arc::default(),
        };
        let (asked, over) = (Arc::clone(&silent.asked), Arc::clone(&silent.over));
        thread::spawn(move || {
            let mut packet = [0; 512];
            while !over.load(Ordering::SeqCst) {
                let Ok(length) = socket.recv(&mut packet) else {
                    continue;
                };
                let question = packet[..length].to_vec();
                // RFC 1035 section 4.1.2: type and class end a question; type 1 is an IPv4 address.
                let end = question.iter().skip(12).position(|byte| *byte == 0);
                let kind = end.and_then(|end| question.get(12 + end + 2));
                if kind == Some(&1) {
                    asked.lock().unwrap().push(question);
                }
            }
        });
        Some(silent)
    }

    fn look_ups(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
    }
}

#[test]
fn fifty_callers_ask_silent_name_servers_twice_and_are_answered_in_their_time() {
    const SERVER: &str = "127.53.53.53";
    let names = PolicyFolder::new("");
    let Some(server) = Silent::start(SERVER) else {
        gatepass_testkit::skip("only root can be a name server");
        return;
    };
    // What runs see as `/etc`: names are asked of that server alone, that of this machine too.
    let etc = names.path();
    let etc = etc.parent().unwrap();
    for (file, text) in [
        (
            "resolv.conf",
            format!("nameserver {SERVER}\noptions timeout:5 attempts:1\n"),
        ),
        ("nsswitch.conf", "hosts: dns\n".to_owned()),
        ("hosts", String::new()),
    ] {
        fs::write(etc.join(file), text).unwrap();
    }
    let provider = Provider::start(provider::Settings {
        auto_approve: true,
        ..provider::Settings::default()
    });
    let base = format!("http://localhost:{}", provider.port());
    drop(provider);
    let port = base.rsplit(':').next().unwrap().parse().unwrap();
    let provider = Provider::start(provider::Settings {
        port,
        base: Some(base),
        auto_approve: true,
        ..provider::Settings::default()
    });
    let scene = Scene::around(GATEPASS, provider, Person::without_browser()).signed_in();
    let calls: Vec<_> = (0..50)
        .map(|_| {
            scene
                .gatepass(["token", "--force-refresh", "--timeout", "40"])
                .policy(&names)
                .spawn()
        })
        .collect();
    for call in calls {
        let answer = call.wait();
        answer.expect(6);
        assert!(answer.stderr.contains("localhost"), "{answer:?}");
        answer.within(Duration::from_secs(41));
    }
    assert_eq!(scene.provider.count("/token"), 0);
    let look_ups = server.look_ups();
    assert!((1..=2).contains(&look_ups), "{look_ups} look-ups");
    scene.gatepass(["token", "--force-refresh"]).run().expect(0);
}
