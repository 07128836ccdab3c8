//! What the browser shows when it comes back. Nothing from the request is in it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

/// How the sign-in ended, as far as the person at the browser is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Signed in, and the session is kept.
    SignedIn,
    /// The person or the provider said no.
    Refused,
    /// Something failed after the person had done their part.
    Failed,
    /// This response had already been used.
    AlreadyUsed,
    /// The request does not belong to the sign-in that is open.
    NotExpected,
}

impl Ending {
    fn texts(self) -> (&'static str, &'static str) {
        match self {
            Self::SignedIn => (
                "You are signed in",
                "You can close this tab and go back to the application.",
            ),
            Self::Refused => (
                "You are not signed in",
                "The sign-in was cancelled or refused. You can close this tab; to try again at once, run gatepass login.",
            ),
            Self::Failed => (
                "The sign-in did not work",
                "The application or the terminal says why. You can close this tab.",
            ),
            Self::AlreadyUsed => (
                "This sign-in was already used",
                "You can close this tab. If you are not signed in, start again from the application.",
            ),
            Self::NotExpected => (
                "This is not the sign-in that was expected",
                "You can close this tab. If you were signing in, go back to the tab with the sign-in page.",
            ),
        }
    }

    fn mark(self) -> &'static str {
        match self {
            Self::SignedIn => "✓",
            _ => "!",
        }
    }
}

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1b1f24;--paper:#f5f6f8;--card:#fff;--line:#d8dce2;--good:#137333;--bad:#a33a00}\
@media(prefers-color-scheme:dark){:root{--ink:#e8eaed;--paper:#16181b;--card:#1f2226;--line:#3a3f46;--good:#6fcf8a;--bad:#ffab70}}\
*{box-sizing:border-box}\
body{margin:0;min-height:100vh;display:grid;place-items:center;padding:1rem;background:var(--paper);color:var(--ink);font:1rem/1.5 system-ui,sans-serif}\
main{width:100%;max-width:28rem;padding:2rem 1.5rem;background:var(--card);border:1px solid var(--line);border-radius:.75rem;text-align:center}\
.mark{font-size:2.5rem;line-height:1;color:var(--bad)}.good .mark{color:var(--good)}\
h1{margin:.75rem 0 .5rem;font-size:1.375rem;line-height:1.25}p{margin:.5rem 0;overflow-wrap:anywhere}\
.who{opacity:.8;font-size:.875rem}";

/// The page, for an organisation as the configuration names it.
pub fn html(ending: Ending, organisation: &str) -> String {
    let (title, text) = ending.texts();
    let mark = ending.mark();
    let class = if ending == Ending::SignedIn {
        " class=\"good\""
    } else {
        ""
    };
    let organisation = escaped(organisation);
    format!(
        "<!doctype html>\n<html lang=\"en\" dir=\"ltr\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <link rel=\"icon\" href=\"data:,\"><title>{title}</title><style>{STYLE}</style></head>\
         <body><main{class}><div class=\"mark\" aria-hidden=\"true\">{mark}</div>\
         <h1>{title}</h1><p>{text}</p><p class=\"who\"><bdi>{organisation}</bdi> · gatepass</p></main></body></html>\n"
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
    use super::{Ending, html};

    #[test]
    fn a_page_is_small_and_has_no_script() {
        let page = html(Ending::SignedIn, "<script>alert(1)</script> & \"Söhne\"");
        assert!(page.len() < 10_000);
        assert!(!page.contains("<script"));
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;Söhne&quot;"));
    }
}
