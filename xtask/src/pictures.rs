//! `cargo xtask pictures`: the drawings of the pages, from their texts.
//!
//! A picture is `docs/pictures/NAME.pikchr`, in the language of <https://pikchr.org>; beside it lies `NAME.svg`. What
//! all of them share (colours, and words for sequences) is in `style.pik`. No font of this machine takes part, so the
//! same text gives the same bytes everywhere, and a test compares them.

use std::fs;
use std::path::{Path, PathBuf};

use pikchr::{Pikchr, PikchrFlags};

/// A colour of `style.pik`, and what it is in light and in dark.
struct Colour {
    name: &'static str,
    /// As `style.pik` has it, and as pikchr writes it.
    source: (&'static str, &'static str),
    light: &'static str,
    dark: &'static str,
}

const COLOURS: [Colour; 7] = [
    colour("ink", "0x000000", "rgb(0,0,0)", "#1f2328", "#e6edf3"),
    colour(
        "paper",
        "0xffffff",
        "rgb(255,255,255)",
        "#ffffff",
        "#0d1117",
    ),
    colour(
        "faint",
        "0x808080",
        "rgb(128,128,128)",
        "#8c959f",
        "#6e7681",
    ),
    colour(
        "plain",
        "0xf0f0f0",
        "rgb(240,240,240)",
        "#f6f8fa",
        "#21262d",
    ),
    colour("ours", "0x0000f0", "rgb(0,0,240)", "#ddf4ff", "#0c2d6b"),
    colour("theirs", "0xf0f000", "rgb(240,240,0)", "#fff1e5", "#5a3209"),
    colour("stop", "0xf00000", "rgb(240,0,0)", "#cf222e", "#ff7b72"),
];

const fn colour(
    name: &'static str,
    source: &'static str,
    drawn: &'static str,
    light: &'static str,
    dark: &'static str,
) -> Colour {
    Colour {
        name,
        source: (source, drawn),
        light,
        dark,
    }
}

/// Writes every picture anew.
pub(crate) fn run() -> Result<(), String> {
    let folder = folder();
    for source in sources(&folder)? {
        let svg = drawn(&folder, &source)?;
        let target = source.with_extension("svg");
        fs::write(&target, svg).map_err(|error| format!("{}: {error}", target.display()))?;
        println!("{}", target.display());
    }
    Ok(())
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/pictures")
}

fn sources(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut sources: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "pikchr")
        })
        .collect();
    sources.sort();
    Ok(sources)
}

/// The picture that a source describes. Its first line is a comment that says what is to be seen.
fn drawn(folder: &Path, source: &Path) -> Result<String, String> {
    let style = read(&folder.join("style.pik"))?;
    let text = read(source)?;
    let name = source.display();
    let title = text
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("# "))
        .ok_or_else(|| format!("{name}: the first line must be `# ` and what the picture shows"))?;
    let drawn = Pikchr::render(&format!("{style}\n{text}"), None, PikchrFlags::default())
        .map_err(|error| format!("{name}: {error}"))?;
    coloured(drawn.rendered(), title, drawn.width(), drawn.height())
        .ok_or_else(|| format!("{name}: what pikchr gave is no drawing"))
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// The drawing in colours that follow the reader's choice of light or dark, on a ground of its own, with its title for
/// those who do not see it.
fn coloured(svg: &str, title: &str, width: isize, height: isize) -> Option<String> {
    let start = svg.find('>')? + 1;
    let mut body = svg.get(start..)?.replace("><", ">\n<");
    for Colour { name, source, .. } in &COLOURS {
        let (_, drawn) = source;
        body = body
            .replace(
                &format!(" fill=\"{drawn}\""),
                &format!(" style=\"fill:var(--{name})\""),
            )
            .replace(drawn, &format!("var(--{name})"));
    }
    let list = |value: fn(&Colour) -> &str| -> String {
        let each = COLOURS
            .iter()
            .map(|colour| format!("--{}:{}", colour.name, value(colour)));
        each.collect::<Vec<_>>().join(";")
    };
    let (light, dark) = (list(|colour| colour.light), list(|colour| colour.dark));
    Some(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"-12 -12 {} {}\" width=\"{}\" role=\"img\" aria-labelledby=\"title\">\n\
         <title id=\"title\">{title}</title>\n\
         <style>\n\
         svg {{ font: 15px system-ui, sans-serif; {light} }}\n\
         @media (prefers-color-scheme: dark) {{ svg {{ {dark} }} }}\n\
         </style>\n\
         <rect x=\"-12\" y=\"-12\" width=\"100%\" height=\"100%\" rx=\"6\" style=\"fill:var(--paper)\"/>\n\
         {body}",
        width + 24,
        height + 24,
        width + 24,
    ))
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed assumption should stop the test"
    )]

    use super::*;

    #[test]
    fn every_picture_is_what_its_text_describes() {
        let folder = folder();
        let sources = sources(&folder).unwrap();
        assert!(sources.len() >= 4, "{sources:?}");
        for source in sources {
            let there = read(&source.with_extension("svg")).unwrap();
            let drawn = drawn(&folder, &source).unwrap();
            assert!(
                there == drawn,
                "{}: run `cargo xtask pictures`",
                source.display()
            );
            assert!(
                !drawn.contains("rgb("),
                "a colour that style.pik has not: {drawn}"
            );
        }
    }

    #[test]
    fn the_colours_are_those_that_sources_use() {
        let style = read(&folder().join("style.pik")).unwrap();
        for Colour { name, source, .. } in &COLOURS {
            let line = format!("{name} = {}\n", source.0);
            assert!(style.contains(&line), "{line}");
        }
    }
}
