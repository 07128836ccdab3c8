//! The recipes of `docs/hosts.md`, as they stand there.

use std::fs;
use std::path::Path;

/// What one section of the page tells people to do.
#[derive(Debug, Default)]
pub(crate) struct Recipe {
    /// Files, each with its path below the home and its content.
    pub(crate) files: Vec<(String, String)>,
    /// Blocks that belong into a file that is there already, and shell commands.
    pub(crate) blocks: Vec<(String, String)>,
}

impl Recipe {
    /// Reads the section with this heading. A block is a file where the paragraph before it names one in the home.
    pub(crate) fn read(heading: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/hosts.md");
        let page = fs::read_to_string(path).unwrap();
        let (_, rest) = page
            .split_once(&format!("\n## {heading}\n"))
            .unwrap_or_else(|| panic!("docs/hosts.md has no section {heading}"));
        let section = rest.split("\n## ").next().unwrap();
        let mut recipe = Self::default();
        let mut rest = section;
        while let Some((prose, after)) = rest.split_once("\n```") {
            let (language, after) = after.split_once('\n').unwrap();
            let (text, after) = after.split_once("\n```\n").expect("a block ends");
            let text = format!("{text}\n");
            let paragraph = prose.trim_end().rsplit("\n\n").next().unwrap();
            let file = paragraph
                .split('`')
                .skip(1)
                .step_by(2)
                .find(|code| code.starts_with("~/") && !code.contains(' '));
            match file {
                Some(file) => recipe.files.push((file[2..].to_owned(), text)),
                None => recipe.blocks.push((language.to_owned(), text)),
            }
            rest = after;
        }
        recipe
    }

    /// The only block of this language that is no file.
    pub(crate) fn block(&self, language: &str) -> &str {
        let mut all = self.blocks.iter().filter(|(of, _)| of == language);
        let (_, text) = all.next().expect("a block");
        assert!(all.next().is_none(), "one block of {language}");
        text
    }
}
