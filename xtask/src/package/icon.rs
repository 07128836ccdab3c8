//! The program's picture, in the files that Windows and macOS want. `packaging/icon.png` is `packaging/icon.svg`, drawn
//! at its one size.

use std::fs;

use super::packaging;

fn picture() -> Result<Vec<u8>, String> {
    let file = packaging("icon.png");
    fs::read(&file).map_err(|e| format!("{}: {e}", file.display()))
}

/// An `.ico` with one picture in it.
pub(super) fn for_windows() -> Result<Vec<u8>, String> {
    let picture = picture()?;
    let size = u32::try_from(picture.len()).map_err(|e| e.to_string())?;
    // One icon; 256 is written as 0; one plane of 32 bits; where the picture begins.
    let mut icon = vec![0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 1, 0, 32, 0];
    icon.extend(size.to_le_bytes());
    icon.extend(22_u32.to_le_bytes());
    icon.extend(picture);
    Ok(icon)
}

/// An `.icns` with one picture in it.
pub(super) fn for_macos() -> Result<Vec<u8>, String> {
    const HEAD: usize = 8;
    let picture = picture()?;
    let part = picture.len() + HEAD;
    let length = |bytes: usize| u32::try_from(bytes).map_err(|e| e.to_string());
    let mut icon = b"icns".to_vec();
    icon.extend(length(part + HEAD)?.to_be_bytes());
    // A PNG of 256 pixels.
    icon.extend(b"ic08");
    icon.extend(length(part)?.to_be_bytes());
    icon.extend(picture);
    Ok(icon)
}

#[cfg(test)]
mod tests {
    use super::picture;

    #[test]
    fn the_picture_has_the_size_that_the_formats_promise() {
        let picture = picture().unwrap();
        assert!(picture.starts_with(b"\x89PNG\r\n\x1a\n"));
        let [width, height] = [16, 20].map(|at| picture[at..at + 4].try_into().unwrap());
        assert_eq!([width, height].map(u32::from_be_bytes), [256; 2]);
    }
}
