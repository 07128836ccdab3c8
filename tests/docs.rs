//! The documentation is held to the program: links lead somewhere, configurations are valid, commands exist.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed assumption should stop the test at once"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use gatepass::config::policy::Policy;
use gatepass::config::schema::{BuiltIn, KEYS, Key, Shape};

const GATEPASS: &str = env!("CARGO_BIN_EXE_gatepass");

/// Every page, with its path below the repository.
fn pages() -> BTreeMap<PathBuf, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = BTreeMap::new();
    let mut folders = vec![root.join("docs"), root.join("packaging")];
    for name in [
        "README.md",
        "SECURITY.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
    ] {
        pages.insert(name.into(), fs::read_to_string(root.join(name)).unwrap());
    }
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                let text = fs::read_to_string(&path).unwrap();
                pages.insert(path.strip_prefix(root).unwrap().into(), text);
            }
        }
    }
    pages
}

/// A page in two: its fenced blocks with their language, and the prose with the blocks left out.
fn split(page: &str) -> (Vec<(String, String)>, String) {
    let (mut blocks, mut prose) = (Vec::new(), String::new());
    let mut open: Option<(usize, String, String)> = None;
    for line in page.lines() {
        let indent = line.len() - line.trim_start().len();
        match (&mut open, line.trim_start().strip_prefix("```")) {
            (None, Some(language)) => open = Some((indent, language.to_owned(), String::new())),
            (Some(_), Some(_)) => {
                let (_, language, text) = open.take().unwrap();
                blocks.push((language, text));
            }
            (Some((indent, _, text)), None) => {
                text.push_str(line.get(*indent..).unwrap_or_default());
                text.push('\n');
            }
            (None, None) => {
                prose.push_str(line);
                prose.push('\n');
            }
        }
    }
    assert!(open.is_none(), "a block is not closed:\n{page}");
    (blocks, prose)
}

/// The pieces of `text` between `open` and the next `close`.
fn between<'t>(text: &'t str, open: &str, close: char) -> impl Iterator<Item = &'t str> {
    text.split(open)
        .skip(1)
        .filter_map(move |rest| rest.split_once(close).map(|(inner, _)| inner))
}

/// The anchors that headings give, as the usual renderers make them.
fn anchors(page: &str) -> BTreeSet<String> {
    let (_, prose) = split(page);
    prose
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
            let heading = line.trim_start_matches('#').trim().to_lowercase();
            heading
                .chars()
                .filter(kept)
                .collect::<String>()
                .replace(' ', "-")
        })
        .collect()
}

#[test]
fn every_link_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages = pages();
    let mut seen = 0;
    let mut broken = Vec::new();
    for (path, page) in &pages {
        let (_, prose) = split(page);
        for target in between(&prose, "](", ')').filter(|target| !target.contains("://")) {
            seen += 1;
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let place = match file {
                "" => path.clone(),
                file => normalised(&path.parent().unwrap().join(file)),
            };
            let there = match pages.get(&place) {
                Some(page) => anchor.is_empty() || anchors(page).contains(anchor),
                None => anchor.is_empty() && root.join(&place).exists(),
            };
            if !there {
                broken.push(format!("{}: {target}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
    assert!(seen > 100, "{seen}");
}

/// A picture has a text that it is drawn from, stands on a page, and says there in words what it shows.
/// That it is what its text describes, a test of xtask's says.
#[test]
fn every_picture_has_its_source_and_its_page() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/pictures");
    let pages = pages();
    let mut seen = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        match path.extension().and_then(std::ffi::OsStr::to_str) {
            Some("pikchr") => assert!(path.with_extension("svg").exists(), "{name}"),
            Some("svg") => {
                seen += 1;
                let source = fs::read_to_string(path.with_extension("pikchr"))
                    .unwrap_or_else(|_| panic!("{name} has no source"));
                let title = source.lines().next().unwrap().trim_start_matches("# ");
                let drawn = fs::read_to_string(&path).unwrap();
                assert!(drawn.contains(&format!(">{title}</title>")), "{name}");
                assert!(drawn.contains("prefers-color-scheme: dark"), "{name}");
                let image = |page: &&String| {
                    page.contains(&format!("![{title}]("))
                        && page.contains(&format!("pictures/{name})"))
                };
                assert!(pages.values().any(|page| image(&page)), "{name}: {title}");
            }
            _ => assert!(
                ["README.md", "style.pik"].contains(&name.as_str()),
                "{name}"
            ),
        }
    }
    assert!(seen >= 4, "{seen}");
}

/// The ways of a token and of a redirect can be followed in the code: each step's function is in its file.
#[test]
fn the_ways_through_the_code_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = &pages()[Path::new("docs/architecture.md")];
    for title in ["The way of a token", "The way of a redirect"] {
        let (_, way) = page.split_once(&format!("\n## {title}\n")).unwrap();
        let (way, _) = way.split_once("\n## ").unwrap();
        let steps: Vec<Vec<&str>> = way
            .lines()
            .filter(|line| line.starts_with("| ") && !line.starts_with("| |"))
            .map(|line| {
                line.split('|')
                    .map(|cell| cell.trim().trim_matches('`'))
                    .collect()
            })
            .collect();
        assert!((6..=12).contains(&steps.len()), "{title}: {}", steps.len());
        for (n, step) in steps.iter().enumerate() {
            assert_eq!(step[1], (n + 1).to_string(), "{title}");
            let code = fs::read_to_string(root.join("src").join(step[2])).unwrap();
            let function = format!("fn {}", step[3]);
            let is_there = code
                .match_indices(&function)
                .any(|(at, _)| code[at + function.len()..].starts_with(['(', '<']));
            assert!(is_there, "{}: no {function}", step[2]);
        }
    }
}

/// Types that the glossary names are in the code.
#[test]
fn the_glossary_names_types_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut code = String::new();
    let mut folders = vec![root.join("src"), root.join("crates/host/src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => code.push_str(&fs::read_to_string(path).unwrap_or_default()),
            }
        }
    }
    let page = &pages()[Path::new("docs/glossary.md")];
    let names: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split('|').next())
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .filter(|name| name.starts_with(|c: char| c.is_ascii_uppercase()))
        .collect();
    assert!(names.len() > 15, "{names:?}");
    for name in names {
        let is_there = ["struct", "enum", "trait"].iter().any(|kind| {
            code.contains(&format!("{kind} {name} ")) || code.contains(&format!("{kind} {name}<"))
        });
        assert!(is_there, "{name}");
    }
}

/// A guard that a page promises is tried by a test of the name that it gives.
#[test]
fn every_test_that_the_security_pages_name_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut there = BTreeSet::new();
    let mut folders: Vec<PathBuf> = ["src", "crates", "tests", "xtask"]
        .iter()
        .map(|folder| root.join(folder))
        .collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("node_modules") {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                there.extend(between(&text, "fn ", '(').map(str::to_owned));
            }
        }
    }
    let mut seen = 0;
    for page in [
        "docs/threat-model.md",
        "docs/known-vulnerabilities.md",
        "docs/attacks.md",
        "docs/security-review.md",
    ] {
        let (_, prose) = split(&pages()[Path::new(page)]);
        for named in prose.split('`').skip(1).step_by(2) {
            let is_test = named.matches('_').count() >= 3
                && named
                    .bytes()
                    .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'));
            if is_test {
                seen += 1;
                assert!(there.contains(named), "{page}: {named}");
            }
        }
    }
    assert!(seen > 80, "{seen}");
}

/// Without `..`.
fn normalised(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut path, part| {
        match part {
            std::path::Component::ParentDir => {
                path.pop();
            }
            part => path.push(part),
        }
        path
    })
}

/// What has to be read at once is short. The changelog is looked up, not read.
#[test]
fn no_page_is_longer_than_2000_words() {
    const LONG: [&str; 1] = ["CHANGELOG.md"];
    let count = |page: &str| page.split_whitespace().count();
    let long: Vec<_> = pages()
        .into_iter()
        .filter(|(path, page)| !LONG.iter().any(|long| path.ends_with(long)) && count(page) > 2000)
        .map(|(path, page)| format!("{}: {} words", path.display(), count(&page)))
        .collect();
    assert!(long.is_empty(), "divide them: {long:#?}");
    let lines = pages()[Path::new("README.md")].lines().count();
    assert!(lines <= 120, "README.md has {lines} lines");
}

/// The words that `docs/words.md` says are not used.
fn unused_words() -> BTreeSet<String> {
    let pages = pages();
    let page = &pages[Path::new("docs/words.md")];
    let (rows, last) = page.rsplit_once("\n\n").unwrap();
    let cells = rows
        .lines()
        .filter(|line| line.starts_with("| "))
        .filter_map(|line| line.trim_end_matches('|').rsplit('|').next());
    let words: BTreeSet<String> = cells
        .chain([last])
        .flat_map(|text| text.split('`').skip(1).step_by(2))
        .map(str::to_owned)
        .collect();
    assert!(words.len() > 15 && words.contains("somebody"), "{words:?}");
    words
}

/// Whether `text` has this word, alone. A word in small letters is found in any.
fn has_word(text: &str, word: &str) -> bool {
    let (text, word) = if word.chars().any(char::is_uppercase) {
        (text.to_owned(), word.to_owned())
    } else {
        (text.to_lowercase(), word.to_owned())
    };
    let is_part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    text.match_indices(&word).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + word.len()..]);
        !is_part(before.chars().next_back()) && !is_part(after.chars().next())
    })
}

#[test]
fn pages_and_messages_use_the_words_of_the_list() {
    let words = unused_words();
    let mut wrong = Vec::new();
    for (path, page) in pages() {
        if path.ends_with("words.md") || path.ends_with("CHANGELOG.md") {
            continue;
        }
        let (_, prose) = split(&page);
        // What others call their things stands in backticks or is in italics, as a button's label is.
        let prose: String = prose.split('`').step_by(2).collect::<Vec<_>>().join(" ");
        let text = prose.split_whitespace().collect::<Vec<_>>().join(" ");
        let used = words.iter().filter(|word| has_word(&text, word));
        wrong.extend(used.map(|word| format!("{}: {word}", path.display())));
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("src"), root.join("crates/host/src")];
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap_or_default();
            let is_test = path.ends_with("tests.rs");
            let program = text.split("#[cfg(test)]").next().unwrap();
            let lines = program
                .lines()
                .filter(|line| !is_test && !line.trim_start().starts_with("//"));
            for line in lines {
                // What is between quotes, sentences and single words alike.
                for literal in line.split('"').skip(1).step_by(2) {
                    seen += 1;
                    // Names of variables are no words.
                    let literal = literal.split(['{', '}']).step_by(2).collect::<String>();
                    let used = words.iter().filter(|word| has_word(&literal, word));
                    wrong.extend(used.map(|word| format!("{}: {word}: {literal}", path.display())));
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "docs/words.md has better ones: {wrong:#?}"
    );
    assert!(seen > 1000, "{seen}");
}

#[test]
fn every_preset_has_a_page_that_shows_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages = pages();
    let index = &pages[Path::new("docs/providers/README.md")];
    for entry in fs::read_dir(root.join("src/config/presets")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let page = pages
            .get(Path::new(&format!("docs/providers/{name}.md")))
            .unwrap_or_else(|| panic!("no page for {name}"));
        assert!(page.contains(&format!("preset = \"{name}\"")), "{name}");
        assert!(index.contains(&format!("]({name}.md)")), "{name}");
        // What has to be registered is what the preset then asks for.
        let preset: toml::Table = toml::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let ports = preset.get("redirect_ports").and_then(toml::Value::as_array);
        for port in ports
            .into_iter()
            .flatten()
            .filter_map(toml::Value::as_integer)
        {
            assert!(page.contains(&format!(":{port}")), "{name}: port {port}");
        }
    }
}

#[test]
fn every_configuration_is_valid() {
    let folder = tempfile::tempdir().unwrap();
    let mut seen = 0;
    let mut wrong = Vec::new();
    for (path, page) in pages() {
        let (blocks, _) = split(&page);
        for (_, text) in blocks.iter().filter(|(language, _)| language == "toml") {
            seen += 1;
            let parsed = match toml::from_str::<toml::Table>(text) {
                Ok(parsed) => parsed,
                Err(error) => {
                    wrong.push(format!("{}: {error}\n{text}", path.display()));
                    continue;
                }
            };
            // Other blocks show a few keys, or are for another program.
            if !parsed.contains_key("issuer") && !parsed.contains_key("kind") {
                continue;
            }
            let file = folder.path().join(format!("{seen}.toml"));
            fs::write(&file, text).unwrap();
            #[cfg(unix)]
            fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600))
                .unwrap();
            let profiles = parsed.get("profile").and_then(toml::Value::as_table);
            let named = profiles.into_iter().flat_map(toml::Table::keys);
            for profile in std::iter::once("default").chain(named.map(String::as_str)) {
                let out = gatepass(folder.path())
                    .args(["config", "check", "--profile", profile, "--config"])
                    .arg(&file)
                    .output()
                    .unwrap();
                if !out.status.success() {
                    let told = String::from_utf8_lossy(&out.stderr);
                    wrong.push(format!("{}: {told}{text}", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 30, "{seen}");
}

#[test]
fn every_policy_is_valid() {
    let pages = pages();
    let (blocks, _) = split(&pages[Path::new("docs/policy.md")]);
    let mut seen = 0;
    for (_, text) in blocks.iter().filter(|(language, _)| language == "toml") {
        seen += 1;
        if let Err(problems) = Policy::parse(text.as_bytes()) {
            panic!("{problems:?}\n{text}");
        }
    }
    assert!(seen > 2, "{seen}");
}

/// Where each page about a way of rolling out sends its reader for what is the same everywhere.
const EVERYWHERE: [&str; 6] = [
    "prepare-the-files",
    "verify-one-machine",
    "verify-ten-thousand",
    "sign-a-leaver-out",
    "roll-back",
    "remove-it",
];

#[test]
fn every_way_of_rolling_out_has_a_page_that_is_complete() {
    let pages = pages();
    let index = &pages[Path::new("docs/deploy/README.md")];
    let mut seen = 0;
    for (path, page) in &pages {
        let Some(name) = path.strip_prefix("docs/deploy").ok().and_then(Path::to_str) else {
            continue;
        };
        if name == "README.md" {
            continue;
        }
        seen += 1;
        assert!(index.contains(&format!("]({name})")), "{name}");
        // An image and a pool have no way of their own to prepare and to remove.
        let own = if name == "vdi.md" {
            &EVERYWHERE[1..5]
        } else {
            &EVERYWHERE
        };
        for part in own {
            let link = format!("](README.md#{part})");
            // A line break may stand in the words of a link, never in its target.
            assert!(page.contains(&link), "{name}: {part}");
        }
        assert!(page.contains("ot tried") || name == "ansible.md", "{name}");
    }
    assert!(seen >= 7, "{seen}");
}

/// What a page calls a file of this repository is one.
#[test]
fn every_file_that_is_named_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut seen = 0;
    for (path, page) in pages() {
        let (_, prose) = split(&page);
        for named in prose.split('`').skip(1).step_by(2) {
            let is_file = ["packaging/", "schema/"]
                .iter()
                .any(|folder| named.starts_with(folder));
            if is_file && !named.contains(char::is_whitespace) {
                seen += 1;
                assert!(root.join(named).exists(), "{}: {named}", path.display());
            }
        }
    }
    assert!(seen > 15, "{seen}");
}

/// What a page tells to set in a script or a role is there to be set.
#[test]
fn every_setting_of_scripts_and_roles_is_one() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/mdm");
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap();
    let defaults = read("ansible/gatepass/defaults/main.yml");
    let specification = read("ansible/gatepass/meta/argument_specs.yml");
    let script = read("jamf/extension-attribute.sh");
    let mut seen = BTreeSet::new();
    for (path, page) in pages() {
        if !path.starts_with("docs/deploy") {
            continue;
        }
        for word in page.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
            if word.starts_with("gatepass_") && !word.ends_with(char::is_numeric) {
                let there = |text: &str| text.contains(&format!("{word}:"));
                assert!(there(&defaults) && there(&specification), "{word}");
                seen.insert(word.to_owned());
            }
        }
        let (_, prose) = split(&page);
        for setting in prose.split('`').skip(1).step_by(2) {
            if let Some(("as" | "checks", value)) = setting.split_once('=') {
                assert!(script.contains(&format!("\n# {value}:")), "{setting}");
                seen.insert(setting.to_owned());
            }
        }
    }
    assert!(seen.len() > 8, "{seen:?}");
}

#[test]
fn every_check_of_doctor_is_explained() {
    let pages = pages();
    let page = &pages[Path::new("docs/troubleshooting.md")];
    for id in gatepass::usecase::doctor::IDS {
        let row = |line: &str| line.starts_with("| ") && line.contains(&format!("`{id}`"));
        assert!(page.lines().any(row), "{id}");
    }
}

/// Defaults that are no fixed value, in words.
const WORDS: [(&str, &str); 8] = [
    ("display_name", "the issuer's host"),
    ("issuer", "required, unless `kind = \"key\"`"),
    ("client_id", "required, unless `kind = \"key\"`"),
    ("device_hosts", "the provider's, and names below them"),
    ("browser", "the system's"),
    (
        "client_auth",
        "`none`, or `client_secret_basic` if a secret is set",
    ),
    ("proxy", "the environment's, then the system's"),
    ("session_lifetime", "what the provider says"),
];

/// The table of the administrator's guide, from the list that the program itself goes by.
fn table_of_keys() -> String {
    let mut table = String::from("| key | type | default | meaning |\n|---|---|---|---|\n");
    for key in KEYS {
        let row = format!(
            "| `{}` | {} | {} | {} |\n",
            key.name,
            kind_of(key.shape),
            default_of(key),
            key.about,
        );
        table.push_str(&row);
    }
    table
}

fn kind_of(shape: Shape) -> String {
    match shape {
        Shape::Text => "string".to_owned(),
        Shape::Url | Shape::Proxy => "URL".to_owned(),
        Shape::Path => "path".to_owned(),
        Shape::Seconds(least, most) => format!("seconds, {least} to {most}"),
        Shape::Number(least, most) => format!("number, {least} to {most}"),
        Shape::Flag => coded(&["true", "false"]),
        Shape::Choice(words) => coded(words),
        Shape::TextList => "list of strings".to_owned(),
        Shape::UriList => "list of URLs".to_owned(),
        Shape::PortList => "list of ports".to_owned(),
        Shape::TextTable => "table of strings".to_owned(),
        Shape::ClaimTable | Shape::Table(_) => "table".to_owned(),
        Shape::TextOrList => "string or list of strings".to_owned(),
        Shape::UriOrList => "URI or list of URIs".to_owned(),
        Shape::Pointer => "JSON pointer".to_owned(),
        Shape::Json => "JSON, as text or table".to_owned(),
    }
}

fn default_of(key: &Key) -> String {
    if let Some((_, words)) = WORDS.iter().find(|(name, _)| *name == key.name) {
        return (*words).to_owned();
    }
    match key.built_in {
        BuiltIn::Unset => "none".to_owned(),
        BuiltIn::Word(word) => format!("`\"{word}\"`"),
        BuiltIn::Number(number) => format!("`{number}`"),
        BuiltIn::Flag(flag) => format!("`{flag}`"),
        BuiltIn::Words(words) => format!("`{words:?}`"),
        BuiltIn::Ports(ports) => format!("`{ports:?}`"),
    }
}

fn coded(words: &[&str]) -> String {
    let words: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
    words.join(" ")
}

#[test]
fn the_table_of_keys_is_that_of_the_program() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let page = fs::read_to_string(&path).unwrap();
    let start = page.find("| key | type | default |").unwrap();
    let end = start + page[start..].find("\n\n").unwrap() + 1;
    let table = table_of_keys();
    if page[start..end] != table && std::env::var_os("DOCS").is_some_and(|what| what == "overwrite")
    {
        fs::write(&path, format!("{}{table}{}", &page[..start], &page[end..])).unwrap();
    } else {
        assert_eq!(
            &page[start..end],
            table,
            "run it with DOCS=overwrite to write the table anew"
        );
    }
}

#[test]
fn every_command_is_one_that_gatepass_takes() {
    let home = tempfile::tempdir().unwrap();
    let mut commands = BTreeSet::new();
    for page in pages().into_values() {
        let (blocks, prose) = split(&page);
        for (_, text) in blocks.iter().filter(|(language, _)| language == "sh") {
            for line in text.lines() {
                commands.extend(
                    words(line)
                        .into_iter()
                        .filter_map(|words| arguments(&words)),
                );
            }
        }
        let inline = between(&prose, "`gatepass ", '`').map(|rest| format!("gatepass {rest}"));
        // A piece of one, or a description of many, is no command.
        for text in inline.filter(|text| !text.contains(['…', '[', '\n'])) {
            commands.extend(
                words(&text)
                    .into_iter()
                    .filter_map(|words| arguments(&words)),
            );
        }
    }
    assert!(commands.len() > 30, "{commands:?}");
    let mut wrong = Vec::new();
    for arguments in &commands {
        // With `--help` at the end nothing is done, but what comes before it is read.
        let out = gatepass(home.path())
            .args(arguments)
            .arg("--help")
            .output()
            .unwrap();
        if !out.status.success() {
            let told = String::from_utf8_lossy(&out.stderr);
            let first = told.lines().next().unwrap_or_default().to_owned();
            wrong.push(format!("gatepass {}: {first}", arguments.join(" ")));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A shell line as its commands, each as its words. Quotes are heeded, expansions are not.
fn words(line: &str) -> Vec<Vec<String>> {
    let mut commands = vec![Vec::new()];
    let (mut word, mut quote) = (None::<String>, None);
    for c in line.chars() {
        match (quote, c) {
            (None, '#') if word.is_none() => break,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (Some(open), c) if c == open => quote = None,
            (None, ' ' | '|' | ';' | '&' | '<' | '>') => {
                commands.last_mut().unwrap().extend(word.take());
                if c != ' ' {
                    commands.push(Vec::new());
                }
            }
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    commands.last_mut().unwrap().extend(word);
    commands
}

/// What gatepass gets, if this is a call of it.
fn arguments(words: &[String]) -> Option<Vec<String>> {
    let is_setting = |word: &&String| {
        word.split_once('=')
            .is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
    };
    let rest = &words[words.iter().take_while(is_setting).count()..];
    let (program, arguments) = rest.split_first()?;
    let stands_for_any = |word: &String| word.chars().all(|c| c.is_ascii_uppercase());
    let is_call = program == "gatepass" || program.starts_with("gatepass-");
    (is_call && !arguments.first().is_some_and(stands_for_any)).then(|| arguments.to_vec())
}

fn gatepass(home: &Path) -> Command {
    let mut command = Command::new(GATEPASS);
    command.env_clear().env("HOME", home).current_dir(home);
    command
}

#[test]
fn a_bug_report_asks_for_the_bundle() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let form = fs::read_to_string(root.join(".github/ISSUE_TEMPLATE/bug.yml")).unwrap();
    assert!(form.contains("`gatepass doctor --bundle support.json`"));
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("support.json");
    let made = gatepass(home.path())
        .args(["doctor", "--bundle"])
        .arg(&file)
        .output()
        .unwrap();
    // Nothing is configured, which is what it then says.
    let bundle = fs::read_to_string(&file).unwrap_or_else(|_| panic!("{made:?}"));
    assert!(bundle.contains("configuration"), "{bundle}");
}

/// What an operator copies for Apache is what the tests run.
#[test]
fn apache_is_configured_as_in_the_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages = pages();
    let page = &pages[Path::new("docs/gateway-operator.md")];
    let run = fs::read_to_string(root.join("crates/testkit/src/lab/apache.rs")).unwrap();
    for directive in [
        "OIDCOAuthVerifyJwksUri https://",
        "OIDCOAuthSSLValidateServer On",
        "<Location /v1>",
        "AuthType oauth20",
        "Require claim aud:",
    ] {
        assert!(
            page.contains(directive) && run.contains(directive),
            "{directive}"
        );
    }
}

#[test]
fn the_changelog_knows_the_version() {
    let changelog =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/CHANGELOG.md")).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    let (_, after) = changelog.split_once("\n## ").unwrap();
    let (heading, rest) = after.split_once('\n').unwrap();
    let section = rest.split("\n## ").next().unwrap();
    let is_named = heading.starts_with(version)
        || (heading == "Unreleased" && section.contains(&format!("This will be {version}")));
    assert!(is_named, "{heading}");
}

#[test]
fn the_page_of_hosts_has_every_key_that_claude_desktop_has_given_up() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/hosts.md")).unwrap();
    for key in gatepass_host::claude_desktop::keys::OLD {
        let named = format!("`{}`", key.name);
        let mut rows = page.lines().filter(|line| line.starts_with('|'));
        let row = rows.find(|row| {
            row.split(" | ")
                .next()
                .is_some_and(|old| old.contains(&named))
        });
        let row = row.unwrap_or_else(|| panic!("{} is missing", key.name));
        assert!(row.contains(key.since.unwrap_or("not known")), "{row}");
    }
}
