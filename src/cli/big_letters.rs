//! A device code in letters that can be read from the other side of the desk.

/// Rows of a letter.
const ROWS: usize = 5;

/// Width of a letter and of the gap after it, in columns.
const WIDTH: usize = 6;

/// Letters as people type them: five rows of five points each.
#[rustfmt::skip]
static LETTERS: &[(char, [&str; ROWS])] = &[
    ('A', [" ### ", "#   #", "#####", "#   #", "#   #"]),
    ('B', ["#### ", "#   #", "#### ", "#   #", "#### "]),
    ('C', [" ####", "#    ", "#    ", "#    ", " ####"]),
    ('D', ["#### ", "#   #", "#   #", "#   #", "#### "]),
    ('E', ["#####", "#    ", "#### ", "#    ", "#####"]),
    ('F', ["#####", "#    ", "#### ", "#    ", "#    "]),
    ('G', [" ####", "#    ", "#  ##", "#   #", " ####"]),
    ('H', ["#   #", "#   #", "#####", "#   #", "#   #"]),
    ('I', ["#####", "  #  ", "  #  ", "  #  ", "#####"]),
    ('J', ["  ###", "   # ", "   # ", "#  # ", " ##  "]),
    ('K', ["#   #", "#  # ", "###  ", "#  # ", "#   #"]),
    ('L', ["#    ", "#    ", "#    ", "#    ", "#####"]),
    ('M', ["#   #", "## ##", "# # #", "#   #", "#   #"]),
    ('N', ["#   #", "##  #", "# # #", "#  ##", "#   #"]),
    ('O', [" ### ", "#   #", "#   #", "#   #", " ### "]),
    ('P', ["#### ", "#   #", "#### ", "#    ", "#    "]),
    ('Q', [" ### ", "#   #", "# # #", "#  # ", " ## #"]),
    ('R', ["#### ", "#   #", "#### ", "#  # ", "#   #"]),
    ('S', [" ####", "#    ", " ### ", "    #", "#### "]),
    ('T', ["#####", "  #  ", "  #  ", "  #  ", "  #  "]),
    ('U', ["#   #", "#   #", "#   #", "#   #", " ### "]),
    ('V', ["#   #", "#   #", "#   #", " # # ", "  #  "]),
    ('W', ["#   #", "#   #", "# # #", "## ##", "#   #"]),
    ('X', ["#   #", " # # ", "  #  ", " # # ", "#   #"]),
    ('Y', ["#   #", " # # ", "  #  ", "  #  ", "  #  "]),
    ('Z', ["#####", "   # ", "  #  ", " #   ", "#####"]),
    ('0', [" ### ", "#  ##", "# # #", "##  #", " ### "]),
    ('1', ["  #  ", " ##  ", "  #  ", "  #  ", " ### "]),
    ('2', ["#### ", "    #", " ### ", "#    ", "#####"]),
    ('3', ["#### ", "    #", " ### ", "    #", "#### "]),
    ('4', ["#   #", "#   #", "#####", "    #", "    #"]),
    ('5', ["#####", "#    ", "#### ", "    #", "#### "]),
    ('6', [" ### ", "#    ", "#### ", "#   #", " ### "]),
    ('7', ["#####", "    #", "   # ", "  #  ", "  #  "]),
    ('8', [" ### ", "#   #", " ### ", "#   #", " ### "]),
    ('9', [" ### ", "#   #", " ####", "    #", " ### "]),
    ('-', ["     ", "     ", " ### ", "     ", "     "]),
];

/// The code in three lines, two points above each other in one character. Nothing if it has other characters than
/// codes have, or would not fit.
pub(super) fn drawn(code: &str, columns: usize) -> Option<[String; 3]> {
    let letters: Vec<&[&str; ROWS]> = code
        .chars()
        .map(|wanted| {
            let found = LETTERS.iter().find(|(letter, _)| *letter == wanted);
            found.map(|(_, rows)| rows)
        })
        .collect::<Option<_>>()?;
    if letters.is_empty() || letters.len() * WIDTH > columns {
        return None;
    }
    let points = |row: usize| -> Vec<bool> {
        let empty = "     ";
        let rows = letters
            .iter()
            .map(|letter| letter.get(row).copied().unwrap_or(empty));
        rows.flat_map(|row| row.chars().chain([' ']))
            .map(|point| point == '#')
            .collect()
    };
    let line = |upper: usize| -> String {
        let characters = points(upper).into_iter().zip(points(upper + 1));
        let line: String = characters
            .map(|pair| match pair {
                (true, true) => '█',
                (true, false) => '▀',
                (false, true) => '▄',
                (false, false) => ' ',
            })
            .collect();
        line.trim_end().to_owned()
    };
    Some([line(0), line(2), line(4)])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{LETTERS, drawn};

    #[test]
    fn letters_have_their_size_and_none_looks_like_another() {
        let looks: BTreeSet<_> = LETTERS.iter().map(|(_, rows)| rows).collect();
        assert_eq!(looks.len(), LETTERS.len());
        assert!(
            LETTERS
                .iter()
                .all(|(_, rows)| rows.iter().all(|row| row.len() == 5))
        );
        for letter in ('A'..='Z').chain('0'..='9') {
            assert!(drawn(&letter.to_string(), 80).is_some(), "{letter}");
        }
    }

    #[test]
    fn a_code_is_drawn_where_it_fits() {
        let drawing = drawn("TI-1", 24).unwrap();
        assert_eq!(
            drawing,
            [
                "▀▀█▀▀ ▀▀█▀▀        ▄█",
                "  █     █    ▀▀▀    █",
                "  ▀   ▀▀▀▀▀        ▀▀▀"
            ]
        );
        assert_eq!(drawn("TI-1", 23), None);
        assert_eq!(drawn("ti", 80), None);
        assert_eq!(drawn("", 80), None);
    }
}
