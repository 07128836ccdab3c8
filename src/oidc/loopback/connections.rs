//! Connections to the redirect's port: bounded in number and time, and only from programs of the same user.

use std::collections::VecDeque;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::oneshot;

use super::redirect_handler::{Peer, RedirectHandler, answer};
use super::request::{ARRIVAL, HEAD};

/// Most connections at a time; the oldest one gives way to a new one.
pub(super) const CONNECTIONS: usize = 128;

/// How long the result page is there to be fetched after the end.
const PAGE: Duration = Duration::from_secs(2);

/// Answers on these sockets until the other side of `stopped` is dropped.
pub(super) fn listen(
    sockets: Vec<TcpListener>,
    handler: Arc<RedirectHandler>,
    stopped: oneshot::Receiver<()>,
) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
    else {
        return;
    };
    runtime.block_on(async {
        let connections = Arc::new(Mutex::new(VecDeque::new()));
        let mut accepting = Vec::new();
        for socket in sockets {
            let ready = socket
                .set_nonblocking(true)
                .and_then(|()| tokio::net::TcpListener::from_std(socket));
            match ready {
                Ok(socket) => accepting.push(tokio::spawn(accept(
                    socket,
                    Arc::clone(&handler),
                    Arc::clone(&connections),
                ))),
                Err(error) => log::warn!("a redirect socket cannot be used: {error}"),
            }
        }
        // Ends when the owner drops its side.
        let _ = stopped.await;
        // A browser that brought the response is being told the end, perhaps at this very moment.
        if handler.claimed.load(Ordering::SeqCst) {
            let _ = tokio::time::timeout(PAGE, handler.page_fetched.notified()).await;
            // The page was handed to the connection; let it leave.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    runtime.shutdown_timeout(Duration::from_millis(50));
}

/// A connection that is open.
struct Connection {
    task: tokio::task::AbortHandle,
    /// Set once it has brought the response: its browser waits to be told the end.
    has_claimed: Arc<AtomicBool>,
}

type Connections = Arc<Mutex<VecDeque<Connection>>>;

async fn accept(
    socket: tokio::net::TcpListener,
    handler: Arc<RedirectHandler>,
    connections: Connections,
) {
    loop {
        let Ok((stream, peer)) = socket.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let has_claimed = Arc::new(AtomicBool::new(false));
        let caller = Arc::new(Peer {
            ends: stream.local_addr().ok().map(|ours| (ours, peer)),
            has_claimed: Arc::clone(&has_claimed),
        });
        let handler = Arc::clone(&handler);
        let task = tokio::spawn(async move {
            let service = service_fn(move |request| {
                answer(request, Arc::clone(&handler), Arc::clone(&caller))
            });
            let _ = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(ARRIVAL)
                .max_buf_size(HEAD.0)
                .max_headers(HEAD.1)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
        if let Ok(mut open) = connections.lock() {
            open.retain(|connection: &Connection| !connection.task.is_finished());
            // Programs that open many connections crowd out one another, never the browser that has brought the response.
            if open.len() >= CONNECTIONS
                && let Some(oldest) = open
                    .iter()
                    .position(|connection| !connection.has_claimed.load(Ordering::SeqCst))
                && let Some(oldest) = open.remove(oldest)
            {
                oldest.task.abort();
            }
            open.push_back(Connection {
                task: task.abort_handle(),
                has_claimed,
            });
        }
    }
}
