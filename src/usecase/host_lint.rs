//! What is wrong with a host's configuration, gatepass's own policy in it included.

use gatepass_host::lint::{self, Context, Finding};

use crate::config::policy;
use crate::text::printable;

/// Longest text of a finding, in characters.
const LONGEST: usize = 400;

/// Checks the content of a file. Texts are safe to show, whatever the file holds.
pub fn check(bytes: &[u8], context: &Context) -> Vec<Finding> {
    let judged = lint::check(bytes, context);
    let mut found = judged.findings;
    found.extend(judged.policies.iter().flat_map(policy::lint::check));
    lint::sort(&mut found);
    for finding in &mut found {
        for text in [&mut finding.key, &mut finding.what, &mut finding.remedy] {
            *text = printable(text, LONGEST);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::check;
    use gatepass_host::lint::Context;

    #[test]
    fn a_file_cannot_paint_the_terminal_and_its_policy_is_judged() {
        let hostile = b"{\"inferenceProvider\":\"\\u001b[31mred\",\"inferenceX\\u202e\":1}";
        for finding in check(hostile, &Context::default()) {
            let text = finding.to_string();
            assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
        }
        let policy = b"Windows Registry Editor Version 5.00\n\n\
            [HKEY_LOCAL_MACHINE\\SOFTWARE\\Policies\\Gatepass]\n\"isuer\"=\"y\"\n";
        let found = check(policy, &Context::default());
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].what.contains("unknown key `isuer`"), "{found:?}");
    }
}
