//! One program for both kinds of Mac: a "fat" Mach-O file, which is a table before the programs for each processor.

/// What the table begins with.
const MAGIC: u32 = 0xcafe_babe;
/// What a program for one processor begins with.
const THIN: [u8; 4] = [0xcf, 0xfa, 0xed, 0xfe];
/// Programs begin at multiples of 16 KiB, the larger of both processors' pages.
const ALIGNMENT: u32 = 14;

/// The file for these programs; a single one stays as it is.
pub(super) fn of(mut programs: Vec<Vec<u8>>) -> Result<Vec<u8>, String> {
    if programs
        .iter()
        .any(|program| program.len() < 12 || program[..4] != THIN)
    {
        return Err("a program for macOS is no 64-bit Mach-O file".to_owned());
    }
    if programs.len() == 1 {
        return programs.pop().ok_or_else(String::new);
    }
    let number = |size: usize| u32::try_from(size).map_err(|e| e.to_string());
    let mut table = MAGIC.to_be_bytes().to_vec();
    table.extend_from_slice(&number(programs.len())?.to_be_bytes());
    let page = 1_usize << ALIGNMENT;
    let mut start = page;
    for program in &programs {
        // Processor and its kind, as the program itself says, in the other byte order.
        for field in [4, 8] {
            table.extend(program[field..field + 4].iter().rev());
        }
        for field in [number(start)?, number(program.len())?, ALIGNMENT] {
            table.extend_from_slice(&field.to_be_bytes());
        }
        start = (start + program.len()).next_multiple_of(page);
    }
    let mut file = table;
    for program in programs {
        file.resize(file.len().next_multiple_of(page), 0);
        file.extend(program);
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::{THIN, of};

    fn program(processor: u32, length: usize) -> Vec<u8> {
        let mut bytes = THIN.to_vec();
        bytes.extend(processor.to_le_bytes());
        bytes.extend(3_u32.to_le_bytes());
        bytes.resize(length, 0xaa);
        bytes
    }

    #[test]
    fn each_program_lies_where_the_table_says() {
        let programs = vec![program(0x0100_000c, 20_000), program(0x0100_0007, 100)];
        let fat = of(programs.clone()).expect("a file");
        let number = |at: usize| {
            u32::from_be_bytes(fat[at..at + 4].try_into().expect("four bytes")) as usize
        };
        assert_eq!((number(0), number(4)), (0xcafe_babe, 2));
        for (place, program) in programs.iter().enumerate() {
            let at = 8 + 20 * place;
            let (start, length) = (number(at + 8), number(at + 12));
            assert_eq!(start % (1 << number(at + 16)), 0);
            assert_eq!(&fat[start..start + length], program);
            assert_eq!(number(at).to_le_bytes()[..4], program[4..8]);
        }
    }

    #[test]
    fn one_program_stays_as_it_is_and_no_other_file_is_taken() {
        assert_eq!(of(vec![program(7, 50)]), Ok(program(7, 50)));
        assert!(of(vec![program(7, 50), b"\x7fELF, padded".to_vec()]).is_err());
    }
}
