//! Checks from a program's ELF headers that it is linked statically.

use anyhow::{Context as _, Result, ensure};
use object::{
    Architecture, Object as _,
    elf::{DT_NEEDED, PT_DYNAMIC, PT_INTERP},
    read::elf::{Dyn as _, ElfFile64, FileHeader as _, ProgramHeader as _},
};

use super::target::Target;

/// Fails if the program is not for the target, or needs a loader or a library at run time.
pub(crate) fn check(program: &[u8], target: Target) -> Result<()> {
    let file = ElfFile64::<object::Endianness>::parse(program).context("parsing it as a 64-bit ELF file")?;
    let expected = match target {
        Target::X86_64 => Architecture::X86_64,
        Target::Aarch64 => Architecture::Aarch64,
    };
    ensure!(file.architecture() == expected, "it is for {:?}, not for {expected:?}", file.architecture());
    let endian = file.endian();
    let segments = file.elf_header().program_headers(endian, program).context("reading its segments")?;
    for segment in segments {
        ensure!(segment.p_type(endian) != PT_INTERP, "it is not static: it names a loader (PT_INTERP)");
        if segment.p_type(endian) == PT_DYNAMIC {
            let entries = segment.dynamic(endian, program).context("reading its dynamic section")?;
            let needs = entries.into_iter().flatten().any(|entry| entry.tag(endian) == DT_NEEDED);
            ensure!(!needs, "it is not static: it names shared libraries (DT_NEEDED)");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a header and two segments, for x86-64.
    fn program(second: u32, dynamic: &[[u64; 2]]) -> Vec<u8> {
        let mut bytes = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        // A position-independent executable for x86-64, version 1.
        bytes.extend([3_u16.to_le_bytes(), 62_u16.to_le_bytes()].concat());
        bytes.extend(1_u32.to_le_bytes());
        // The addresses of its entry point, its segments and its sections.
        for word in [0_u64, 64, 0] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(0_u32.to_le_bytes());
        // The sizes of the header and of a segment, the number of segments; no sections.
        for half in [64_u16, 56, 2, 0, 0, 0] {
            bytes.extend(half.to_le_bytes());
        }
        let size = u64::try_from(dynamic.len() * 16).unwrap();
        for (kind, offset, size) in [(1_u32, 0_u64, 0_u64), (second, 64 + 2 * 56, size)] {
            bytes.extend(kind.to_le_bytes());
            bytes.extend(4_u32.to_le_bytes());
            for word in [offset, 0, 0, size, size, 8] {
                bytes.extend(word.to_le_bytes());
            }
        }
        bytes.extend(dynamic.iter().flatten().flat_map(|word| word.to_le_bytes()));
        bytes
    }

    const STRTAB: [u64; 2] = [5, 0];
    const NEEDED: [u64; 2] = [1, 0];
    const END: [u64; 2] = [0, 0];

    #[test]
    fn static_programs_have_neither_a_loader_nor_libraries() {
        check(&program(2, &[STRTAB, END]), Target::X86_64).unwrap();
        for (program, said) in [
            (program(3, &[]), "PT_INTERP"),
            (program(2, &[STRTAB, NEEDED, END]), "DT_NEEDED"),
            (b"#!/bin/sh\n".to_vec(), "ELF"),
            (Vec::new(), "ELF"),
        ] {
            let error = format!("{:#}", check(&program, Target::X86_64).unwrap_err());
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn a_program_is_for_its_target() {
        let error = format!("{:#}", check(&program(2, &[END]), Target::Aarch64).unwrap_err());
        assert_eq!(error, "it is for X86_64, not for Aarch64");
    }

    /// Checks a real program: this test is linked dynamically with the machine's C library.
    #[test]
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    fn this_test_is_not_static() {
        let program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let error = format!("{:#}", check(&program, Target::of_host().unwrap()).unwrap_err());
        assert!(error.contains("not static"), "{error}");
    }
}
