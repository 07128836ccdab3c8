//! `gatepass status`: one profile in words, several as a table as well.

use std::fmt::Write;

use serde::Serialize;

use super::args::Args;
use super::run::gateway_warning;
use super::run::{profile, with_support};
use crate::config::profile::ProfileName;
use crate::config::{self, Sources};
use crate::error::{Failure, Result};
use crate::session::record::SignedInBy;
use crate::session::state::Warning;
use crate::usecase::status::{self, Row, Status, Unknown};
use crate::{clock, logging, output, text};

pub(super) fn status(args: &Args, json: bool) -> Result<()> {
    let asked = profile(args)?;
    let sources = match Sources::read(args.config.as_deref()) {
        Ok(sources) => sources,
        Err(failure) => return unknown(&asked, failure, Vec::new(), json),
    };
    let of = |name| {
        let settings = config::load(&sources, name)?;
        let status = status::status(&settings)?;
        Ok((settings, status))
    };
    let looked = of(&asked);
    if let Ok((settings, _)) = &looked {
        logging::keep(settings);
    }
    let own = looked.as_ref().map(|(_, status)| status.clone());
    let own = own.map_err(Clone::clone);
    // A user who names a profile wants to hear of that one.
    let names = sources.profiles();
    let several = args.profile.is_none() && asked.is_default() && names.len() > 1;
    let rows: Vec<Row> = if several {
        names
            .iter()
            .map(|name| {
                if *name == asked {
                    Row::of(name, &own)
                } else {
                    Row::of(name, &of(name).map(|(_, status)| status))
                }
            })
            .collect()
    } else {
        Vec::new()
    };
    let (settings, mut status) = match looked {
        Ok(looked) => looked,
        // A file may describe only named profiles; those are worth telling all the same.
        Err(failure) => return unknown(&asked, failure, rows, json),
    };
    status.profiles = rows;
    let ignored = sources.policy.iter().flat_map(|policy| &policy.ignored);
    status.warnings.extend(ignored.map(|key| Warning {
        at: clock::now(),
        text: format!("the policy's key `{key}` is for a newer gatepass and left out"),
    }));
    status
        .warnings
        .extend(gateway_warning(&settings).map(|text| Warning {
            at: clock::now(),
            text,
        }));
    let text = if json {
        in_json(&status)?
    } else {
        let table = match status.profiles.as_slice() {
            [] => String::new(),
            rows => format!("\n{}", table(rows)),
        };
        format!("{}{table}", in_words(&status))
    };
    output::print(text.as_bytes())?;
    match status.failure {
        None => Ok(()),
        Some(failure) => with_support(&settings, Err(failure)),
    }
}

/// Nothing could be looked at. Programs get their JSON all the same.
fn unknown(asked: &ProfileName, failure: Failure, rows: Vec<Row>, json: bool) -> Result<()> {
    if json {
        output::print(in_json(&Unknown::new(asked, &failure, rows))?.as_bytes())?;
    } else if !rows.is_empty() {
        output::print(table(&rows).as_bytes())?;
    }
    Err(failure)
}

fn in_json(value: &impl Serialize) -> Result<String> {
    let mut text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::internal(error.to_string()))?;
    text.push('\n');
    Ok(text)
}

fn in_words(status: &Status) -> String {
    let mut out = String::new();
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(out, "{name:<12} {value}");
    };
    row("profile", &status.profile);
    let flow = status.session.as_ref().map(|session| session.flow);
    let is_key = flow == Some(SignedInBy::Key);
    match (&status.account, status.signed_in) {
        (Some(account), true) => row("signed in", &format!("as {account}")),
        (Some(account), false) => row("signed in", &format!("no (was {account})")),
        (None, true) if is_key => row("signed in", "with a pasted key"),
        (None, true) => row("signed in", "yes; the store does not say as whom"),
        (None, false) => row("signed in", "no"),
    }
    if status.issuer.is_empty() {
        row("provider", &status.organisation);
    } else {
        row(
            "provider",
            &format!("{} ({})", status.organisation, status.issuer),
        );
    }
    if let Some(gateway) = &status.gateway_url {
        row("gateway", gateway);
    }
    if let Some(token) = &status.token {
        let life = match token.seconds_left {
            0 => format!("expired at {}", token.expires_at),
            left => format!(
                "valid for {} (until {})",
                text::duration(left),
                token.expires_at
            ),
        };
        row("token", &life);
    }
    if let Some(session) = &status.session {
        let flow = session.flow.in_words();
        row("since", &format!("{} by {flow}", session.signed_in_at));
        row("refreshed", &session.refreshed_at);
    }
    if let Some(held) = &status.held_back {
        row("not renewed", &held.in_words());
    }
    if let Some(parked) = &status.parked {
        row("waiting", &parked.in_words(status.store));
    }
    if let Some(refresh) = &status.last_refresh
        && let Some(what) = &refresh.what
    {
        row("last attempt", &format!("{}: {what}", refresh.at));
    }
    if status.signed_in {
        let next = &status.next_sign_in;
        let due = match (&next.at, &next.early_from) {
            (Some(at), Some(early)) => {
                format!("{at}; from {early} on, an interactive call asks early")
            }
            (Some(at), None) => format!("{at}: {}", next.why),
            (None, _) => next.why.to_owned(),
        };
        row("sign-in due", &due);
    }
    if status.sign_in.open {
        row("sign-in", "one is open in the browser");
    }
    if let Some(until) = &status.sign_in.closed_until {
        row(
            "sign-in",
            &format!("refused; hosts open none until {until}"),
        );
    }
    row(
        "kept in",
        &format!("{}; token cached in: {}", status.store, status.cache),
    );
    for warning in &status.warnings {
        row(
            "warning",
            &format!("{} ({})", warning.text, text::moment(warning.at)),
        );
    }
    out
}

/// Columns as wide as what is in them, so that the table fits a narrow terminal.
fn table(rows: &[Row]) -> String {
    let cells: Vec<[String; 4]> = rows
        .iter()
        .map(|row| {
            let who = match (&row.account, row.signed_in, &row.why) {
                (Some(account), true, _) => account.clone(),
                (None, true, _) => "yes".to_owned(),
                (_, false, Some(why)) => format!("no: {why}"),
                (_, false, None) => "no".to_owned(),
            };
            let until = row.token_expires_at.clone().unwrap_or_default();
            let organisation = row.organisation.clone().unwrap_or_default();
            [row.profile.clone(), organisation, until, who]
        })
        .collect();
    let head = ["PROFILE", "PROVIDER", "TOKEN UNTIL", "SIGNED IN"].map(str::to_owned);
    let all: Vec<&[String; 4]> = std::iter::once(&head).chain(&cells).collect();
    let width = |column: usize| {
        let cells = all.iter().map(|cells| cells[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let widths = [width(0), width(1), width(2)];
    let mut out = String::new();
    for [first, second, third, last] in all {
        let _ = writeln!(
            out,
            "{first:<0$}  {second:<1$}  {third:<2$}  {last}",
            widths[0], widths[1], widths[2]
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_aligned_columns_and_says_why_not() {
        let row = |profile: &str, account: Option<&str>, why: Option<&str>| Row {
            profile: profile.to_owned(),
            signed_in: why.is_none(),
            account: account.map(str::to_owned),
            token_expires_at: account.map(|_| "2026-11-21T01:52:38Z".to_owned()),
            organisation: Some("Corp".to_owned()),
            why: why.map(str::to_owned),
        };
        let rows = [
            row("default", Some("ann@example.com"), None),
            row("research", None, Some("nobody is signed in")),
        ];
        assert_eq!(
            table(&rows),
            "PROFILE   PROVIDER  TOKEN UNTIL           SIGNED IN\n\
             default   Corp      2026-11-21T01:52:38Z  ann@example.com\n\
             research  Corp                            no: nobody is signed in\n"
        );
    }
}
