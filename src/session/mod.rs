//! What is stored of a sign-in, and when it is good.
//!
//! [`record`] is the entry in the keychain; [`state`] the file beside it, without secrets; [`validity`] says
//! whether a token may be printed; [`reader`] finds a good token and cannot change anything; [`lock`] admits
//! one writer; [`open_sign_in`] is what everybody knows of the one open sign-in.

pub mod handed;
pub mod lock;
pub mod open_sign_in;
pub mod reader;
pub mod record;
pub mod state;
pub mod validity;
