//! What kind of program the release binary is.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a helper that cannot go on is a failed test")]

/// `ET_EXEC` of elf.h: loaded where it was linked. A position-independent program is `ET_DYN`.
const FIXED: u16 = 2;
/// `PT_INTERP` of elf.h: asks for a dynamic loader.
const LOADER: u32 = 3;

#[test]
fn it_needs_no_loader_and_no_relocation() {
    let program = std::fs::read(lab::program::built().unwrap()).unwrap();
    assert_eq!(&program[..5], b"\x7fELF\x02", "a 64-bit ELF file");
    let half = |at: usize| u16::from_le_bytes(program[at..at + 2].try_into().unwrap());
    let long = |at: usize| u64::from_le_bytes(program[at..at + 8].try_into().unwrap());
    assert_eq!(half(16), FIXED, "position independent: relocating costs every plugin call");
    let table = usize::try_from(long(32)).unwrap();
    for number in 0..usize::from(half(56)) {
        let at = table + number * usize::from(half(54));
        let kind = u32::from_le_bytes(program[at..at + 4].try_into().unwrap());
        assert_ne!(kind, LOADER, "dynamically linked: it would not start in an empty root file system");
    }
}
