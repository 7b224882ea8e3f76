//! Finds a custom section of a WASM file without running or loading it.
//!
//! A section is a byte that says what it is, its size and its content
//! (<https://webassembly.github.io/spec/core/binary/modules.html#sections>). A
//! component holds modules and components as sections, and a compiler puts the
//! manifest into the module that it makes: sections inside are searched too.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};

/// A module inside a component, and a component inside a component.
const NESTED: [u8; 2] = [1, 4];
const CUSTOM: u8 = 0;
/// Components are nested two or three deep by the tools that make them.
const MAX_DEPTH: u32 = 8;
/// A manifest has some hundred bytes.
const MAX_CONTENT: u64 = 1 << 20;

/// Whether a file begins like a WASM module or component.
pub(crate) fn is_wasm(file: &mut File) -> bool {
    let mut magic = [0; 4];
    file.rewind().is_ok() && file.read_exact(&mut magic).is_ok() && magic == *b"\0asm"
}

/// The content of the first custom section of that name; none: there is none.
/// What is wrong with the file is answered in words.
pub(crate) fn find(file: &File, name: &str) -> Result<Option<Vec<u8>>, String> {
    let length = file.metadata().map_err(|error| error.to_string())?.len();
    let mut reader = BufReader::with_capacity(512, file);
    reader.rewind().map_err(|error| error.to_string())?;
    search(&mut reader, length, name, 0)
}

/// Searches the module or component that ends at `end`.
fn search(file: &mut BufReader<&File>, end: u64, name: &str, depth: u32) -> Result<Option<Vec<u8>>, String> {
    let mut header = [0; 8];
    file.read_exact(&mut header).map_err(|_| "it ends within its header".to_owned())?;
    let is_component = match header {
        [0, b'a', b's', b'm', _, _, 0, 0] => false,
        [0, b'a', b's', b'm', _, _, 1, 0] => true,
        _ => return Err("it does not begin like WASM".into()),
    };
    loop {
        let mut kind = [0];
        if position(file)? >= end {
            return Ok(None);
        }
        file.read_exact(&mut kind).map_err(|_| "it ends within a section".to_owned())?;
        let size = read_size(file)?;
        let next = position(file)? + size;
        if next > end {
            return Err("it ends before its last section".into());
        }
        if kind[0] == CUSTOM {
            let length = read_size(file)?;
            let mut found = vec![0; usize::try_from(length.min(size)).unwrap_or(0)];
            file.read_exact(&mut found).map_err(|_| "it ends within a section".to_owned())?;
            if found == name.as_bytes() {
                let rest = next.saturating_sub(position(file)?);
                if rest > MAX_CONTENT {
                    return Err(format!("its section `{name}` has {rest} bytes"));
                }
                let mut content = Vec::new();
                file.take(rest).read_to_end(&mut content).map_err(|error| error.to_string())?;
                return Ok(Some(content));
            }
        } else if is_component
            && NESTED.contains(&kind[0])
            && depth < MAX_DEPTH
            && let Some(content) = search(file, next, name, depth + 1)?
        {
            return Ok(Some(content));
        }
        file.seek(SeekFrom::Start(next)).map_err(|error| error.to_string())?;
    }
}

fn position(file: &mut BufReader<&File>) -> Result<u64, String> {
    file.stream_position().map_err(|error| error.to_string())
}

/// A number in LEB128, of 32 bits.
fn read_size(file: &mut impl Read) -> Result<u64, String> {
    let mut value = 0;
    for shift in (0..35).step_by(7) {
        let mut byte = [0];
        file.read_exact(&mut byte).map_err(|_| "it ends within a section".to_owned())?;
        value |= u64::from(byte[0] & 0x7f) << shift;
        if byte[0] & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err("the size of a section is no number".into())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn section(kind: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![kind, u8::try_from(content.len()).unwrap()];
        bytes.extend(content);
        bytes
    }

    fn custom(name: &str, content: &str) -> Vec<u8> {
        section(CUSTOM, &[&[name.len() as u8], name.as_bytes(), content.as_bytes()].concat())
    }

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    const MODULE: &[u8] = b"\0asm\x01\0\0\0";
    const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

    #[test]
    fn a_section_is_found_at_the_top_and_inside() {
        let module = [MODULE, &custom("other", "x"), &section(3, b"abc"), &custom("mine", "{}")].concat();
        assert_eq!(find(&file(&module), "mine"), Ok(Some(b"{}".to_vec())));
        assert_eq!(find(&file(&module), "min"), Ok(None));
        let inside = [COMPONENT, &section(7, b"types"), &section(1, &module), &custom("after", "1")].concat();
        assert_eq!(find(&file(&inside), "mine"), Ok(Some(b"{}".to_vec())));
        assert_eq!(find(&file(&inside), "after"), Ok(Some(b"1".to_vec())));
        let deeper = [COMPONENT, &section(4, &inside)].concat();
        assert_eq!(find(&file(&deeper), "mine"), Ok(Some(b"{}".to_vec())));
    }

    #[test]
    fn a_damaged_file_is_said_to_be_so_at_every_length() {
        let module = [MODULE, &custom("other", "x"), &section(3, b"abc"), &custom("mine", "{}")].concat();
        let ends = [8, 17, 22];
        for length in 0..module.len() {
            let found = find(&file(&module[..length]), "mine");
            match ends.contains(&length) {
                true => assert_eq!(found, Ok(None), "{length}"),
                false => assert!(found.is_err(), "{length}: {found:?}"),
            }
        }
        assert!(find(&file(b"\0asm\x01\0\0\0\x00\xff\xff\xff\xff\xff\xff"), "mine").is_err());
    }
}
