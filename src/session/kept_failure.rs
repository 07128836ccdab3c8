//! A failure as another process will read it.

use serde::{Deserialize, Serialize};

use crate::error::{Cure, Failure, Id, Origin};

/// A failure as it is kept in a file or sent through a pipe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptFailure {
    id: String,
    what: String,
    remedy: String,
    from_provider: bool,
    /// Missing in files of the first versions.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    sign_in_helps: bool,
}

impl From<&Failure> for KeptFailure {
    fn from(failure: &Failure) -> Self {
        Self {
            id: failure.id.as_str().to_owned(),
            what: failure.what.clone(),
            remedy: failure.remedy.clone(),
            from_provider: failure.origin == Origin::Provider,
            sign_in_helps: failure.cure == Cure::SignIn,
        }
    }
}

impl From<KeptFailure> for Failure {
    fn from(kept: KeptFailure) -> Self {
        let id = Id::parse(&kept.id).unwrap_or(Id::Internal);
        let mut failure = Self::new(id, kept.what, kept.remedy);
        if kept.sign_in_helps {
            failure.cure = Cure::SignIn;
        }
        if kept.from_provider {
            failure.told_by_provider()
        } else {
            failure
        }
    }
}
