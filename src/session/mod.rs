//! What is stored of a sign-in, and when it is good.
//!
//! [`record`] is the entry in the keychain; [`state`] the file beside it, without secrets; [`validity`] says
//! whether a token may be printed; [`verdict`] what the end of a refresh means for the session, and [`back_off`] when
//! it is tried again; [`lock`] admits one writer; [`active_sign_in`] is what every process knows of the one
//! active sign-in; [`last_printed`] which token each host was given last; [`kept_failure`] is a failure that another
//! process will read.

pub mod active_sign_in;
pub mod back_off;
pub mod kept_failure;
pub mod last_printed;
pub mod lock;
pub mod record;
pub mod state;
pub mod validity;
pub mod verdict;
