use super::*;

#[test]
fn only_a_files_code_is_given_back() {
    let line =
        "55d0c0a00000-55d0c1000000 r-xp 00200000 fe:01 1234                       /usr/bin/dromon-proxy";
    assert_eq!(code(line), Some((0x55d0_c0a0_0000, 0x60_0000)));
    for other in [
        "55d0c1000000-55d0c1200000 r--p 00800000 fe:01 1234                       /usr/bin/dromon-proxy",
        "55d0c1200000-55d0c1300000 rw-p 00a00000 fe:01 1234                       /usr/bin/dromon-proxy",
        "55d0c1200000-55d0c1300000 rwxp 00a00000 fe:01 1234                       /usr/bin/dromon-proxy",
        "7ffd1c1f0000-7ffd1c1f2000 r-xp 00000000 00:00 0                          [vdso]",
        "7f0000000000-7f0000001000 r-xp 00000000 00:00 0",
    ] {
        assert_eq!(code(other), None, "{other}");
    }
}

#[test]
fn the_program_runs_on() {
    give_back();
    assert_eq!(format!("{}", 6 * 7), "42");
}
