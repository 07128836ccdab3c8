//! The pages that people see. They need no script; the one that has a script works without it too.

use sha2::{Digest, Sha256};
use url::{Host, Url};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::authorization_request::AuthorizationRequest;
use super::http::{Pairs, Response};

const STYLE: &str = "
:root { color-scheme: light dark; --card: light-dark(#fff, #1d2129); --ink: light-dark(#1b1f27, #e9ecf1);
  --soft: light-dark(#5b6472, #a6afbd); --line: light-dark(#c9ced6, #4a5261); --main: light-dark(#1f5fbf, #8ab4ff);
  --on-main: light-dark(#fff, #10141b); }
* { box-sizing: border-box; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1rem; color: var(--ink);
  background: light-dark(#eef1f6, #12151b); font: 1rem/1.5 system-ui, sans-serif; }
main { width: 100%; max-width: 26rem; padding: 2rem; border-radius: 1rem; background: var(--card);
  border: 1px solid var(--line); }
h1 { margin: 0 0 .5rem; font-size: 1.5rem; line-height: 1.25; }
p { margin: 0 0 1rem; overflow-wrap: anywhere; }
.soft { color: var(--soft); font-size: .875rem; }
.problem { padding: .5rem .75rem; border-left: .25rem solid #d33; }
.code { font: 600 1.75rem/1.4 ui-monospace, monospace; letter-spacing: .1em; }
label { display: block; font-weight: 600; margin-bottom: .25rem; }
input { width: 100%; padding: .6rem .75rem; font: inherit; color: inherit; background: transparent;
  border: 1px solid var(--line); border-radius: .5rem; }
.buttons { display: flex; gap: .75rem; margin: 1.25rem 0; }
button { flex: 1; padding: .65rem 1rem; font: inherit; font-weight: 600; border-radius: .5rem; cursor: pointer;
  color: var(--main); background: transparent; border: 1px solid var(--main); }
button.main { color: var(--on-main); background: var(--main); }
:focus-visible { outline: 3px solid var(--main); outline-offset: 2px; }
";

const SUBMIT: &str = "document.forms[0].submit()";

const WHOSE: &str = "<p class=soft>This is the demo provider of gatepass. It asks for no password, believes any name, \
and stays on this computer.</p>";

/// What a page may do beyond showing itself.
#[derive(Default)]
struct Page<'a> {
    title: &'a str,
    body: String,
    /// Further targets of its forms, which browsers also hold redirects to.
    form_target: Option<String>,
    /// Whether it sends its form by itself.
    submits: bool,
}

impl Page<'_> {
    fn respond(self, status: u16) -> Response {
        let title = escape(self.title);
        let script = if self.submits {
            format!("<script>{SUBMIT}</script>")
        } else {
            String::new()
        };
        let html = format!(
            "<!doctype html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n\
             <meta name=viewport content=\"width=device-width, initial-scale=1\">\n\
             <title>{title} \u{b7} gatepass demo provider</title>\n<style>{STYLE}</style>\n</head>\n\
             <body>\n<main>\n<h1>{title}</h1>\n{}\n{WHOSE}\n</main>\n{script}</body>\n</html>\n",
            self.body
        );
        let mut policy = format!(
            "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; style-src '{}'; form-action 'self'",
            source_hash(STYLE)
        );
        if let Some(target) = self.form_target {
            policy.push(' ');
            policy.push_str(&target);
        }
        if self.submits {
            policy.push_str(&format!("; script-src '{}'", source_hash(SUBMIT)));
        }
        Response::html(status, &html)
            .header("Content-Security-Policy", &policy)
            .header("Referrer-Policy", "no-referrer")
            .header("X-Content-Type-Options", "nosniff")
            .header("X-Frame-Options", "DENY")
    }
}

/// The hash that lets exactly this inline text through a content security policy.
fn source_hash(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text)))
}

/// Text for use in HTML content and in quoted attributes.
fn escape(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '&' => "&amp;".to_owned(),
            '<' => "&lt;".to_owned(),
            '>' => "&gt;".to_owned(),
            '"' => "&quot;".to_owned(),
            '\'' => "&#39;".to_owned(),
            other => other.to_string(),
        })
        .collect()
}

fn hidden(name: &str, value: &str) -> String {
    format!(
        "<input type=hidden name=\"{}\" value=\"{}\">",
        escape(name),
        escape(value)
    )
}

/// The field for the name, and the two buttons. The first button is the one that the Enter key presses.
fn decision(account: &str, accept: &str) -> String {
    format!(
        "<label for=account>Your name or e-mail address</label>\n\
         <input id=account name=account value=\"{}\" autocomplete=username autocapitalize=none spellcheck=false>\n\
         <div class=buttons><button type=submit class=main>{accept}</button>\
         <button type=submit name=abort value=1>Refuse</button></div>",
        escape(account)
    )
}

/// The origin of a redirect URI as a source expression. Policies have no syntax for IPv6 addresses.
fn source_of(redirect_uri: &str) -> String {
    match Url::parse(redirect_uri) {
        Ok(url) if !matches!(url.host(), Some(Host::Ipv6(_))) => url.origin().ascii_serialization(),
        _ => "http:".to_owned(),
    }
}

/// The sign-in page.
pub(crate) fn sign_in(handle: &str, request: &AuthorizationRequest) -> Response {
    let redirect_uri = &request.back.redirect_uri;
    let account = request.login_hint.as_deref().unwrap_or_default();
    Page {
        title: "Sign in",
        body: format!(
            "<p><strong>{}</strong> asks who you are. It waits for the answer at {}.</p>\n\
             <form method=post action=\"/sign-in\">\n{}\n{}\n</form>\n\
             <p class=soft>It asks for: {}</p>",
            escape(&request.client_id),
            escape(&source_of(redirect_uri)),
            hidden("page", handle),
            decision(account, "Sign in"),
            escape(&request.scope),
        ),
        form_target: Some(source_of(redirect_uri)),
        ..Page::default()
    }
    .respond(200)
}

/// The page that carries the answer to the client by POST (OAuth 2.0 Form Post Response Mode).
pub(crate) fn form_post(redirect_uri: &str, parameters: &Pairs) -> Response {
    let fields: String = parameters
        .iter()
        .map(|(name, value)| hidden(name, value))
        .collect();
    Page {
        title: "Back to the application",
        body: format!(
            "<form method=post action=\"{}\">{fields}<div class=buttons>\
             <button type=submit class=main>Continue</button></div></form>",
            escape(redirect_uri)
        ),
        form_target: Some(source_of(redirect_uri)),
        submits: true,
    }
    .respond(200)
}

/// The page where a person types the code that a device shows.
pub(crate) fn enter_user_code(wrong: bool) -> Response {
    let problem = if wrong {
        "<p class=problem role=alert>No sign-in waits for this code. It may have expired.</p>\n"
    } else {
        ""
    };
    Page {
        title: "Connect a device",
        body: format!(
            "{problem}<form method=get action=\"/device\">\n\
             <label for=user_code>The code that your device shows</label>\n\
             <input id=user_code name=user_code required autofocus autocomplete=off autocapitalize=characters \
             spellcheck=false>\n\
             <div class=buttons><button type=submit class=main>Continue</button></div></form>"
        ),
        ..Page::default()
    }
    .respond(if wrong { 404 } else { 200 })
}

/// The page where a person decides about a device.
pub(crate) fn confirm_device(user_code: &str, client_id: &str, account: &str) -> Response {
    Page {
        title: "Confirm the device",
        body: format!(
            "<p><strong>{}</strong> wants to sign in on a device that shows this code:</p>\n\
             <p class=code>{}</p>\n\
             <p>Confirm only if you started this yourself a moment ago and see the same code.</p>\n\
             <form method=post action=\"/device\">\n{}\n{}\n</form>",
            escape(client_id),
            escape(user_code),
            hidden("user_code", user_code),
            decision(account, "Confirm"),
        ),
        ..Page::default()
    }
    .respond(200)
}

/// The page after the decision.
pub(crate) fn device_done(confirmed: bool) -> Response {
    Page {
        title: if confirmed { "Confirmed" } else { "Refused" },
        body: "<p>You can close this page and go back to your device.</p>".to_owned(),
        ..Page::default()
    }
    .respond(200)
}

/// The page for a request that can't be sent back to its client.
pub(crate) fn error(error: &str, description: &str) -> Response {
    Page {
        title: "This request can\u{2019}t be answered",
        body: format!(
            "<p class=problem role=alert><strong>{}</strong>: {}</p>",
            escape(error),
            escape(description)
        ),
        ..Page::default()
    }
    .respond(400)
}

/// The page for those who look at the provider's address itself.
pub(crate) fn index() -> Response {
    Page {
        title: "Demo provider",
        body: "<p>An OpenID provider for trying out gatepass.</p>\n\
               <p><a href=\"/device\">Connect a device</a></p>"
            .to_owned(),
        ..Page::default()
    }
    .respond(200)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_becomes_markup() {
        assert_eq!(
            escape("<a href='x'>\"&"),
            "&lt;a href=&#39;x&#39;&gt;&quot;&amp;"
        );
    }

    #[test]
    fn forms_may_lead_back_to_the_client_only() {
        assert_eq!(source_of("http://127.0.0.1:81/cb"), "http://127.0.0.1:81");
        assert_eq!(source_of("http://[::1]:81/cb"), "http:");
    }
}
