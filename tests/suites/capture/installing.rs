//! `dromon-proxy capture` itself: what it installs, leaves alone, takes away, and how it fails.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use dromon_tests::bin;
use dromon_tests::netns::Namespace;
use serde_json::Value;

use crate::world::{capture, output};
use crate::{IPTABLES_LEGACY, IPTABLES_NFT, Means, NFTABLES};

/// All three, where each is wanted.
pub const EACH: [Means; 3] = [IPTABLES_NFT, IPTABLES_LEGACY, NFTABLES];

/// Everything of netfilter that is in force inside, by every program.
fn in_force(inside: &Namespace) -> String {
    let mut text = String::new();
    for program in
        ["iptables-nft-save", "ip6tables-nft-save", "iptables-legacy-save", "ip6tables-legacy-save"]
    {
        text += &String::from_utf8_lossy(&output(inside.command(program).args(["-t", "nat"])).stdout);
    }
    text += &String::from_utf8_lossy(&output(inside.command("nft").args(["list", "tables"])).stdout);
    text += &String::from_utf8_lossy(
        &output(inside.command("nft").args(["list", "table", "ip", "dromon"])).stdout,
    );
    // What programs say of when they ran, and counts of packets, differ each time.
    let is_said = |line: &&str| !line.starts_with('#') && !line.starts_with(':');
    text.lines().filter(is_said).map(|line| format!("{line}\n")).collect()
}

/// Whether any of our rules is in force.
fn is_captured(inside: &Namespace) -> bool {
    let text = in_force(inside);
    text.contains("DROMON_") || text.contains("dromon")
}

/// Installs or removes, and gives what was said of each family.
fn states(inside: &Namespace, means: Means, more: &[&str]) -> Vec<String> {
    let output = capture(inside, &[means.arguments, more, &["-o", "json"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let families = said["families"].as_array().expect("families").iter();
    families.map(|it| it["state"].as_str().expect("a state").to_owned()).collect()
}

/// A second run changes nothing, other settings replace the rules, the end leaves nothing.
pub fn again_and_away(means: Means) {
    let inside = Namespace::new();
    assert!(!is_captured(&inside));
    assert_eq!(states(&inside, means, &[]), ["installed", "installed"]);
    let installed = in_force(&inside);
    assert_eq!(states(&inside, means, &[]), ["unchanged", "unchanged"]);
    assert_eq!(in_force(&inside), installed);
    let other = ["--exclude-outbound-ports", "3306", "--inbound-ports", "8080"];
    assert_eq!(states(&inside, means, &other), ["installed", "installed"]);
    assert_ne!(in_force(&inside), installed);
    assert_eq!(states(&inside, means, &["--no-ipv6"]), ["installed", "skipped"]);
    assert_eq!(states(&inside, means, &[]), ["unchanged", "installed"]);
    assert_eq!(in_force(&inside), installed);
    assert_eq!(states(&inside, means, &["--remove"]), ["removed", "removed"]);
    assert_eq!(states(&inside, means, &["--remove"]), ["absent", "absent"]);
    assert!(!is_captured(&inside), "{}", in_force(&inside));
    assert!(!String::from_utf8_lossy(&addresses(&inside)).contains("::6"));
}

fn addresses(inside: &Namespace) -> Vec<u8> {
    output(inside.command("ip").args(["-6", "address", "show", "dev", "lo"])).stdout
}

/// What one of the means has installed another replaces, so that nothing is captured twice.
pub fn one_replaces_another() {
    let inside = Namespace::new();
    for means in EACH.into_iter().chain(EACH) {
        assert_eq!(states(&inside, means, &[]), ["installed", "installed"], "{means:?}");
        let text = in_force(&inside);
        let counts = [text.matches("-j DROMON_OUTBOUND").count(), text.matches("table ip dromon {").count()];
        let wanted = if means == NFTABLES { [0, 1] } else { [2, 0] };
        assert_eq!(counts, wanted, "{means:?}: {text}");
    }
    assert_eq!(states(&inside, IPTABLES_NFT, &["--remove"]), ["removed", "removed"]);
    assert!(!is_captured(&inside));
}

/// Rules of others stay, come behind ours, and what somebody has changed of ours is put right.
pub fn rules_of_others_stay() {
    let inside = Namespace::new();
    let iptables = |arguments: &str| {
        let done = output(inside.command("iptables-nft").args(["-t", "nat"]).args(arguments.split(' ')));
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    iptables("-N OTHERS");
    iptables("-A OUTPUT -p udp --dport 53 -j OTHERS");
    assert_eq!(states(&inside, IPTABLES_NFT, &["--no-ipv6"]), ["installed", "skipped"]);
    iptables("-I OUTPUT 1 -p tcp -j ACCEPT");
    assert_eq!(states(&inside, IPTABLES_NFT, &["--no-ipv6"]), ["installed", "skipped"]);
    assert_eq!(states(&inside, IPTABLES_NFT, &["--no-ipv6"]), ["unchanged", "skipped"]);
    iptables("-F DROMON_OUTBOUND");
    assert_eq!(states(&inside, IPTABLES_NFT, &["--no-ipv6"]), ["installed", "skipped"]);
    states(&inside, IPTABLES_NFT, &["--remove"]);
    let text = in_force(&inside);
    assert!(
        text.contains("-A OUTPUT -p udp -m udp --dport 53 -j OTHERS") && !text.contains("DROMON"),
        "{text}"
    );
}

/// Where a family fails nothing stays of the other, and what was in force before stays whole.
pub fn it_fails_closed() {
    let inside = Namespace::new();
    // A folder in which ip6tables-restore fails, whichever name it goes by, and the rest is the system's.
    let programs = tempfile::tempdir().expect("a temporary folder");
    for name in ["ip6tables-restore", "ip6tables-nft-restore"] {
        let failing = programs.path().join(name);
        std::fs::write(&failing, "#!/bin/sh\necho no such luck >&2\nexit 3\n").expect("writable");
        let executable = output(std::process::Command::new("chmod").arg("755").arg(&failing));
        assert!(executable.status.success());
    }
    let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", programs.path().display());
    let fail = |more: &[&str]| {
        let mut command = inside.command("env");
        command.arg(format!("PATH={path}")).arg(bin("dromon-proxy")).arg("capture");
        let output = output(command.args(IPTABLES_NFT.arguments).args(more));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("IPv6") && said.contains("no such luck"), "{said}");
    };
    inside.ip(
        "link add veth0 type veth peer name veth1\nlink set veth0 up\naddr add fd01::1/64 dev veth0 nodad\n",
    );
    fail(&[]);
    assert!(!is_captured(&inside), "half a capture stayed: {}", in_force(&inside));
    states(&inside, IPTABLES_NFT, &[]);
    let whole = in_force(&inside);
    fail(&["--exclude-outbound-ports", "3306"]);
    assert_eq!(in_force(&inside), whole, "the capture of before was lost");
}

/// Without ip6tables: left out, which is said, where nobody could be reached by IPv6; refused where somebody could.
pub fn ip6tables_may_be_absent_where_nothing_uses_ipv6() {
    let inside = Namespace::new();
    // `ip netns exec` gives its program mounts of its own.
    let script = "set -e; cp -a /usr/sbin/xtables-nft-multi /usr/sbin/iptables-nft-* \"$1\"; \
                  mount --bind \"$1\" /usr/sbin; shift; exec \"$@\"";
    let run = || {
        let programs = tempfile::tempdir().expect("a temporary folder");
        let mut command = inside.command("sh");
        command.args(["-c", script, "sh"]).arg(programs.path()).arg(bin("dromon-proxy"));
        let output = output(command.arg("capture").args(IPTABLES_NFT.arguments));
        (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let (code, said) = run();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("IPv4: installed") && said.contains("IPv6: skipped: ip6tables-nft-save"), "{said}");
    inside.ip(
        "link add veth0 type veth peer name veth1\nlink set veth0 up\naddr add fd01::1/64 dev veth0 nodad\n",
    );
    let (code, said) = run();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("--no-ipv6"), "{said}");
}

/// Without CAP_NET_ADMIN nothing can be done, and it is said why.
pub fn it_says_what_it_lacks() {
    let inside = Namespace::new();
    for means in EACH {
        let mut command = inside.command("setpriv");
        command.args(["--bounding-set=-net_admin", "--inh-caps=-net_admin"]).arg(bin("dromon-proxy"));
        let output = output(command.arg("capture").args(means.arguments));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{means:?}: {said}");
        assert!(said.contains("CAP_NET_ADMIN"), "{means:?}: {said}");
        assert!(!is_captured(&inside));
    }
}

/// While the rules lead to a sidecar that is not there, nothing gets through: not started means not connected.
pub fn without_a_sidecar_nothing_passes(means: Means) {
    let inside = Namespace::new();
    inside.ip("link add veth0 type veth peer name veth1\nlink set veth1 up\nlink set veth0 up\naddr add 10.78.0.1/24 dev veth0\n");
    states(&inside, means, &[]);
    let to = SocketAddr::from(([10, 78, 0, 9], 80));
    let connected = inside.run(|| TcpStream::connect_timeout(&to, Duration::from_secs(10)));
    let error = connected.expect_err("nobody takes it").kind();
    assert_eq!(error, std::io::ErrorKind::ConnectionRefused, "it went past the sidecar");
}
