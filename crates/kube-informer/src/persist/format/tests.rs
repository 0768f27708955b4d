use proptest::prelude::*;

use super::*;

const UID: &str = "0a5e2f6c-0000-0000-0000-000000000001";

fn file(header: &[u8], objects: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), header).unwrap();
    for (name, json) in objects {
        let record = Record { namespace: "default", name, uid: UID, resource_version: "7", json };
        writer.add(&record).unwrap();
    }
    writer.finish().unwrap()
}

fn small() -> Vec<u8> {
    let objects = ["a", "b"].map(|name| (name.to_owned(), br#"{"spec":5}"#.to_vec()));
    file(b"{\"header\":1}", &objects)
}

/// A header, and the objects that follow.
type Content = (Vec<u8>, Vec<(String, Vec<u8>)>);

/// Reads a whole file.
fn read(bytes: &[u8]) -> Result<Content, Damaged> {
    let (mut reader, header) = Reader::new(bytes, bytes.len() as u64)?;
    let mut objects = Vec::new();
    loop {
        match reader.next()? {
            Block::Objects(block) => {
                for record in records(&block) {
                    let Record { name, json, .. } = record?;
                    objects.push((name.to_owned(), json.to_vec()));
                }
            }
            Block::End { count } if count == objects.len() as u64 => return Ok((header, objects)),
            Block::End { .. } => return Err(Damaged::Altered),
        }
    }
}

#[test]
fn a_file_cut_at_any_byte_is_truncated() {
    let whole = small();
    for length in 0..whole.len() {
        let error = read(&whole[..length]).unwrap_err();
        assert!(matches!(error, Damaged::Truncated), "{length}: {error}");
    }
    read(&whole).unwrap();
}

#[test]
fn a_file_that_became_shorter_while_it_was_read_is_truncated() {
    let whole = small();
    let (mut reader, _) = Reader::new(&whole[..whole.len() - 1], whole.len() as u64).unwrap();
    reader.next().unwrap();
    assert!(matches!(reader.next().unwrap_err(), Damaged::Truncated));
}

#[test]
fn no_bit_of_a_file_can_be_altered() {
    let whole = small();
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut altered = whole.clone();
            altered[at] ^= 1 << bit;
            read(&altered).unwrap_err();
        }
    }
}

#[test]
fn nothing_can_follow_the_end() {
    let mut whole = small();
    whole.push(0);
    assert!(matches!(read(&whole).unwrap_err(), Damaged::Altered));
}

#[test]
fn a_block_of_another_file_is_noticed() {
    let one = file(b"one", &[("a".to_owned(), vec![1; 100])]);
    let two = file(b"two", &[("a".to_owned(), vec![1; 100])]);
    assert_eq!(one.len(), two.len());
    let header_end = MAGIC.len() + 4 + BLOCK_HEAD + 3;
    let spliced = [&one[..header_end], &two[header_end..]].concat();
    assert!(matches!(read(&spliced).unwrap_err(), Damaged::Altered));
}

#[test]
fn another_format_version_is_named() {
    let mut whole = small();
    whole[MAGIC.len()..][..4].copy_from_slice(&2_u32.to_le_bytes());
    assert_eq!(read(&whole).unwrap_err().to_string(), "the file has format version 2, not 1");
}

#[test]
fn a_length_that_lies_is_not_believed() {
    // 4 GiB are announced, in a file that claims to be large enough for them.
    let mut whole = small();
    whole[MAGIC.len() + 4 + 1..][..4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(matches!(Reader::new(&whole[..], u64::MAX).map(|_| ()).unwrap_err(), Damaged::Altered));
    // The length of a part of a record is beyond its block.
    let lying = [&u32::MAX.to_le_bytes()[..], b"default"].concat();
    assert_eq!(records(&lying).filter(Result::is_err).count(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn what_was_written_is_read(header: Vec<u8>, sizes in prop::collection::vec(0..BLOCK * 2, 0..8)) {
        let objects: Vec<_> =
            sizes.iter().enumerate().map(|(at, size)| (at.to_string(), vec![at as u8; *size])).collect();
        prop_assert_eq!(read(&file(&header, &objects)).unwrap(), (header, objects));
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes: Vec<u8>, kept in 0_usize..200) {
        let whole = small();
        let prefixed = [&whole[..kept.min(whole.len())], &bytes].concat();
        let _ = read(&bytes);
        let _ = records(&bytes).count();
        prop_assert!(prefixed == whole || read(&prefixed).is_err());
    }
}
