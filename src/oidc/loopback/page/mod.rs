//! What the browser shows when it comes back: what happened, whose sign-in it was, and what to do next.
//!
//! Nothing from the request is in it. Of what the browser sends only the wish for a language counts, and it
//! chooses among texts of ours ([`words`]).

mod language;
mod words;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

pub use language::Language;
use words::{Said, Words};

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
        /// Whether whoever asked still waits for the token.
        awaited: bool,
    },
    /// The person or the provider said no.
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
    fn said(&self, words: &'static Words) -> &'static Said {
        match self {
            Self::SignedIn { awaited: true, .. } => &words.signed_in,
            Self::SignedIn { awaited: false, .. } => &words.signed_in_unawaited,
            Self::Refused => &words.refused,
            Self::NotAllowed => &words.not_allowed,
            Self::Expired => &words.expired,
            Self::Failed => &words.failed,
            Self::AlreadyUsed => &words.already_used,
            Self::NotExpected => &words.not_expected,
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
pub fn html(ending: &Ending, parties: &Parties, language: Language) -> String {
    let words = language.words();
    let Said { title, text } = ending.said(words);
    let signed_in = ending.account().is_some();
    let (class, mark) = if signed_in {
        (" class=\"good\"", "✓")
    } else {
        ("", "!")
    };
    let rows: String = [
        (words.account, ending.account()),
        (words.organisation, Some(parties.organisation.as_str())),
        (words.gateway, parties.gateway.as_deref()),
        (words.asked_by, parties.asker.as_deref()),
    ]
    .into_iter()
    .filter_map(|(label, name)| Some((label, name?)))
    .map(|(label, name)| {
        // A name may be written from right to left, whatever the language of the page.
        let name = escaped(&text::printable(name, NAME));
        format!("<div><dt>{label}</dt><dd><bdi>{name}</bdi></dd></div>")
    })
    .collect();
    let (lang, close) = (words.lang, words.close);
    format!(
        "<!doctype html>\n<html lang=\"{lang}\" dir=\"ltr\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <link rel=\"icon\" href=\"data:,\"><title>{title} – gatepass</title><style>{STYLE}</style></head>\
         <body><main{class}><div role=\"status\"><div class=\"mark\" aria-hidden=\"true\">{mark}</div>\
         <h1>{title}</h1><p>{text}</p><p>{close}</p></div><dl>{rows}</dl></main></body></html>\n"
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
    use super::{Ending, Language, Parties, html};

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
    fn every_page_in_every_language_is_small_and_has_no_script_and_no_markup_of_others() {
        let parties = Parties {
            organisation: "<img src=x onerror=a>\u{202e}".repeat(100),
            gateway: Some("https://gateway.example/'\"><b>".repeat(50)),
            asker: Some("Claude".to_owned()),
        };
        for language in Language::ALL {
            let mut titles_and_texts = Vec::new();
            for ending in endings() {
                let page = html(&ending, &parties, language);
                assert!(page.len() < 10_000, "{}", page.len());
                assert!(
                    !page.contains("<script") && !page.contains("<img") && !page.contains("<b>")
                );
                assert!(!page.contains('\u{202e}'));
                let is_success = matches!(ending, Ending::SignedIn { .. });
                assert_eq!(
                    page.contains("&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;Söhne&quot;"),
                    is_success
                );
                assert_eq!(page.contains("class=\"good\""), is_success);
                titles_and_texts.push(page);
            }
            titles_and_texts.sort();
            titles_and_texts.dedup();
            assert_eq!(
                titles_and_texts.len(),
                endings().len(),
                "each says something else"
            );
        }
    }
}
