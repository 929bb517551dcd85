use super::*;

/// A mapping as smaps has it.
fn mapping(first: &str, anonymous: &str, swap: &str) -> String {
    format!(
        "{first}\nSize:               6144 kB\nRss:                 512 kB\nAnonymous:      {anonymous} kB\n\
         Swap:           {swap} kB\nSwapPss:              0 kB\nTHPeligible:    0\nVmFlags: rd ex mr mw me\n"
    )
}

const CODE: &str =
    "55d0c0a00000-55d0c1000000 r-xp 00200000 fe:01 1234                       /usr/bin/dromon-proxy";
const CONSTANTS: &str =
    "55d0c1000000-55d0c1200000 r--p 00800000 fe:01 1234                       /usr/bin/dromon-proxy";

#[test]
fn only_what_is_as_its_file_is_is_given_back() {
    let smaps = mapping(CODE, "0", "0") + &mapping(CONSTANTS, "0", "0");
    assert_eq!(clean(&smaps), [(0x55d0_c0a0_0000, 0x60_0000), (0x55d0_c100_0000, 0x20_0000)]);
    // What the loader has relocated is no longer what the file says, even where it cannot be written any more.
    for (anonymous, swap) in [("268", "0"), ("0", "4"), ("4", "4")] {
        let smaps = mapping(CONSTANTS, anonymous, swap) + &mapping(CODE, "0", "0");
        assert_eq!(clean(&smaps), [(0x55d0_c0a0_0000, 0x60_0000)], "{anonymous} {swap}");
    }
    for other in [
        "55d0c1200000-55d0c1300000 rw-p 00a00000 fe:01 1234                       /usr/bin/dromon-proxy",
        "55d0c1200000-55d0c1300000 rwxp 00a00000 fe:01 1234                       /usr/bin/dromon-proxy",
        "55d0c1200000-55d0c1300000 r--s 00a00000 fe:01 1234                       /usr/bin/dromon-proxy",
        "7ffd1c1f0000-7ffd1c1f2000 r-xp 00000000 00:00 0                          [vdso]",
        "7f0000000000-7f0000001000 r-xp 00000000 00:00 0",
    ] {
        assert_eq!(clean(&mapping(other, "0", "0")), [], "{other}");
    }
}

#[test]
fn the_kernels_own_text_is_understood() {
    let smaps = fs::read_to_string("/proc/self/smaps").expect("smaps");
    let given = clean(&smaps);
    let code = only_what_is_as_its_file_is_is_given_back as fn() as usize;
    assert!(given.iter().any(|(start, length)| (*start..start + length).contains(&code)), "{smaps}");
}

#[test]
fn the_program_runs_on() {
    give_back();
    assert_eq!(format!("{}", 6 * 7), "42");
}

#[test]
fn threads_beyond_the_limit_of_arenas_allocate_all_the_same() {
    limit_arenas(1);
    let threads = (0..4).map(|at| std::thread::spawn(move || vec![at; 4096].iter().sum::<usize>()));
    let sums: Vec<usize> = threads.map(|it| it.join().expect("it ends")).collect();
    assert_eq!(sums, [0, 4096, 2 * 4096, 3 * 4096]);
}
