//! Looking for secrets where they do not belong.

use std::fs;
use std::path::{Path, PathBuf};

const PIECE: usize = 20;

/// A secret, or a piece of it, in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leak {
    /// The file.
    pub file: PathBuf,
    /// The piece that was found there.
    pub piece: String,
}

/// Searches every file under a folder for secrets. The beginning and the end of each secret count, and of each
/// part of a JWT but its header, so that a shortened one is found as well.
///
/// # Panics
/// Where a file cannot be read.
#[must_use]
pub fn scan_for_secrets(folder: &Path, secrets: &[String]) -> Vec<Leak> {
    let pieces: Vec<String> = secrets.iter().flat_map(|secret| pieces(secret)).collect();
    let mut leaks = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        // A folder may vanish under the search: programs clean up after themselves.
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let file = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(file),
                Ok(kind) if kind.is_file() => {
                    let content = fs::read(&file).unwrap_or_default();
                    for piece in pieces
                        .iter()
                        .filter(|piece| contains(&content, piece.as_bytes()))
                    {
                        leaks.push(Leak {
                            file: file.clone(),
                            piece: piece.clone(),
                        });
                    }
                }
                _ => {}
            }
        }
    }
    leaks
}

fn pieces(secret: &str) -> Vec<String> {
    assert!(
        secret.len() >= 8,
        "too short to be told from other text: {secret:?}"
    );
    let parts: Vec<&str> = secret.split('.').collect();
    let telling = if parts.len() == 3 {
        &parts[1..]
    } else {
        &[secret][..]
    };
    let ends = telling.iter().flat_map(|part| {
        let short = part.len() <= PIECE;
        let (first, last) = if short {
            (*part, *part)
        } else {
            (&part[..PIECE], &part[part.len() - PIECE..])
        };
        [first.to_owned(), last.to_owned()]
    });
    let mut pieces: Vec<String> = ends.collect();
    pieces.dedup();
    pieces
}

fn contains(content: &[u8], piece: &[u8]) -> bool {
    content.windows(piece.len()).any(|window| window == piece)
}
