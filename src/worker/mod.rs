//! The detached worker: the same binary, doing the work that must outlive its caller.
//!
//! A host kills its helper when its time is up. So the process that a host sees reads and waits; a worker
//! refreshes, or keeps a sign-in open, and stores the result. It has left the caller's session and
//! terminal, its life is bounded, and what it was told on its command line is no secret.
//!
//! During an upgrade a caller's worker may be of the next version (Windows and macOS start what lies there): the
//! worker's arguments and lines may only grow.
//!
//! [`client`] waits for work, [`start`] starts a worker, [`serve`] is what it does, `event` what passes between them.

pub mod client;
mod desktop;
mod event;
pub mod serve;
pub mod start;

/// The hidden command that makes this binary a worker.
pub const COMMAND: &str = "detached-worker";

/// What a worker is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Task {
    /// Refresh the session.
    Refresh,
    /// Keep a browser sign-in open until the user is done.
    SignIn,
}
