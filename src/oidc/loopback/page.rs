//! What the browser shows when it comes back: what happened, whose sign-in it was, and what to do next.
//!
//! It speaks English, as all of gatepass does; the organisation's own words (`display_name`) are shown as they are.
//! Nothing from the request is in it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use crate::text;

/// Longest name that is shown, in characters.
const NAME: usize = 120;

/// How the sign-in ended, as far as the person at the browser is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Signed in, and the session is kept.
    SignedIn {
        /// The name that people know the account by.
        account: String,
        /// Whether the caller still waits for the token.
        awaited: bool,
    },
    /// The user or the provider refused.
    Refused,
    /// The account is none that the organisation allows.
    NotAllowed,
    /// It took too long: the sign-in or the code of the provider is not valid any more.
    Expired,
    /// Something failed after the person had done their part.
    Failed,
    /// This response had already been used.
    AlreadyUsed,
    /// The request does not belong to the sign-in that is open.
    NotExpected,
}

impl Ending {
    /// What happened, and what that means and what to do next.
    fn said(&self) -> (&'static str, &'static str) {
        match self {
            Self::SignedIn { awaited: true, .. } => (
                "You are signed in",
                "Go back to the application or the terminal that asked; it goes on by itself.",
            ),
            Self::SignedIn { awaited: false, .. } => (
                "You are signed in",
                "The application that asked has stopped waiting in the meantime. Return to Claude (or whatever asked) and start again; you will not have to sign in a second time.",
            ),
            Self::Refused => (
                "You are not signed in",
                "The sign-in was cancelled or refused. To try again at once, run “gatepass login” in a terminal.",
            ),
            Self::NotAllowed => (
                "This account cannot be used here",
                "You are not signed in: the account is none that this organisation allows for the gateway. Start again and choose your organisation’s account.",
            ),
            Self::Expired => (
                "This sign-in has expired",
                "You are not signed in: it took too long. Return to Claude (or whatever asked) and start again.",
            ),
            Self::Failed => (
                "The sign-in did not work",
                "The application or the terminal that asked says why. If it does not, run “gatepass login” in a terminal.",
            ),
            Self::AlreadyUsed => (
                "This sign-in was already used",
                "If you are not signed in, return to Claude (or whatever asked) and start again.",
            ),
            Self::NotExpected => (
                "This is not the sign-in that was expected",
                "Nothing has happened. If you were signing in, go back to the tab with the sign-in page.",
            ),
        }
    }

    fn account(&self) -> Option<&str> {
        match self {
            Self::SignedIn { account, .. } => Some(account),
            _ => None,
        }
    }
}

/// Whose sign-in it is, as the configuration names them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parties {
    /// Whom the person signs in with.
    pub organisation: String,
    /// What the token is for.
    pub gateway: Option<String>,
    /// The program that asked, where it is known.
    pub asker: Option<String>,
}

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#4c545e;--paper:#f5f6f8;--card:#fff;--line:#d8dce2;--good:#137333;--bad:#a33a00}\
@media(prefers-color-scheme:dark){:root{--ink:#e8eaed;--soft:#b4bbc4;--paper:#16181b;--card:#1f2226;--line:#3a3f46;--good:#6fcf8a;--bad:#ffab70}}\
*{box-sizing:border-box}\
body{margin:0;min-height:100vh;display:grid;place-items:center;padding:1rem;background:var(--paper);color:var(--ink);font:1rem/1.5 system-ui,sans-serif}\
main{width:100%;max-width:30rem;min-width:0;padding:2rem 1.5rem;background:var(--card);border:1px solid var(--line);border-radius:.75rem}\
.mark{font-size:2.5rem;line-height:1;color:var(--bad)}.good .mark{color:var(--good)}\
h1{margin:.75rem 0 .5rem;font-size:1.375rem;line-height:1.25}\
h1,p,dd{overflow-wrap:anywhere}p{margin:.5rem 0}\
dl{margin:1.5rem 0 0;padding-top:1rem;border-top:1px solid var(--line);font-size:.9375rem}\
dl div{margin:.375rem 0}dt{color:var(--soft);font-size:.8125rem}dd{margin:0}";

/// The page.
pub fn html(ending: &Ending, parties: &Parties) -> String {
    let (title, text) = ending.said();
    let signed_in = ending.account().is_some();
    let (class, mark) = if signed_in {
        (" class=\"good\"", "✓")
    } else {
        ("", "!")
    };
    let rows: String = [
        ("Account", ending.account()),
        ("Organisation", Some(parties.organisation.as_str())),
        ("Gateway", parties.gateway.as_deref()),
        ("Asked for by", parties.asker.as_deref()),
    ]
    .into_iter()
    .filter_map(|(label, name)| Some((label, name?)))
    .map(|(label, name)| {
        // A name may be written from right to left.
        let name = escaped(&text::printable(name, NAME));
        format!("<div><dt>{label}</dt><dd><bdi>{name}</bdi></dd></div>")
    })
    .collect();
    format!(
        "<!doctype html>\n<html lang=\"en\" dir=\"ltr\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <link rel=\"icon\" href=\"data:,\"><title>{title} – gatepass</title><style>{STYLE}</style></head>\
         <body><main{class}><div role=\"status\"><div class=\"mark\" aria-hidden=\"true\">{mark}</div>\
         <h1>{title}</h1><p>{text}</p><p>You can close this tab.</p></div><dl>{rows}</dl></main></body></html>\n"
    )
}

/// The only things that the page may load: its own style and an empty icon.
pub fn content_security_policy() -> String {
    let style = STANDARD.encode(Sha256::digest(STYLE));
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; img-src data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'"
    )
}

fn escaped(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, c| {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::{Ending, Parties, html};

    fn endings() -> Vec<Ending> {
        let signed_in = |awaited| Ending::SignedIn {
            account: "<script>alert(1)</script> & \"Söhne\"".to_owned(),
            awaited,
        };
        vec![
            signed_in(true),
            signed_in(false),
            Ending::Refused,
            Ending::NotAllowed,
            Ending::Expired,
            Ending::Failed,
            Ending::AlreadyUsed,
            Ending::NotExpected,
        ]
    }

    #[test]
    fn every_page_is_small_and_has_no_script_and_no_markup_of_others() {
        let parties = Parties {
            organisation: "<img src=x onerror=a>\u{202e}".repeat(100),
            gateway: Some("https://gateway.example/'\"><b>".repeat(50)),
            asker: Some("Claude".to_owned()),
        };
        let mut pages = Vec::new();
        for ending in endings() {
            let page = html(&ending, &parties);
            assert!(page.len() < 10_000, "{}", page.len());
            assert!(!page.contains("<script") && !page.contains("<img") && !page.contains("<b>"));
            assert!(!page.contains('\u{202e}'));
            let is_success = matches!(ending, Ending::SignedIn { .. });
            assert_eq!(
                page.contains("&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;Söhne&quot;"),
                is_success
            );
            assert_eq!(page.contains("class=\"good\""), is_success);
            pages.push(page);
        }
        pages.sort();
        pages.dedup();
        assert_eq!(pages.len(), endings().len(), "each says something else");
    }
}
