//! TLS as people write it down: rules in YAML, a run of `dromonctl`, and curl and openssl at both ends.

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use dromon_tests::certs::{WebCa, run};
use dromon_tests::mesh::{Mesh, Setup};
use dromon_tests::origin::Origin;
use dromon_tests::process::Process;
use dromon_tests::{eventually, free_port};

/// A Secret with a certificate of the CA, and the CA for peers.
fn secret(ca: &WebCa, name: &str) -> String {
    let mut text = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: default}}\nstringData:\n"
    );
    let parts =
        [("tls.crt", format!("{name}.crt")), ("tls.key", format!("{name}.key")), ("ca.crt", "ca.crt".into())];
    for (key, file) in parts {
        let pem = std::fs::read_to_string(ca.path(&file)).expect("issued");
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {key}: |\n    {}", pem.trim_end().replace('\n', "\n    "));
    }
    text + "---\n"
}

/// A ServiceEntry with one endpoint, and a VirtualService that brings a host at the gateway there.
fn service(host: &str, entry: &str, protocol: &str, resolution: &str, at: (&str, u16)) -> String {
    let (address, port) = at;
    format!(
        "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {entry}, namespace: default}}
spec:
  hosts: [{entry}.local]
  ports: [{{number: 80, name: main, protocol: {protocol}}}]
  resolution: {resolution}
  endpoints: [{{address: {address}, ports: {{main: {port}}}}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {entry}, namespace: default}}
spec:
  hosts: [{host}]
  gateways: [front]
  http: [{{route: [{{destination: {{host: {entry}.local, port: {{number: 80}}}}}}]}}]
---
"
    )
}

/// `openssl s_server` with a page, certificates of the CA, and further arguments.
fn server(ca: &WebCa, name: &str, more: &[&str]) -> (Process, u16) {
    let port = free_port();
    let file = |name: String| ca.path(&name).display().to_string();
    let mut command = Command::new("openssl");
    command.args(["s_server", "-accept", &format!("127.0.0.1:{port}"), "-www"]);
    command.args(["-cert", &file(format!("{name}.crt")), "-key", &file(format!("{name}.key"))]);
    command.args(["-CAfile", &file("ca.crt".into())]).args(more);
    let process = Process::start(&mut command);
    eventually("openssl s_server to listen", || TcpStream::connect(("127.0.0.1", port)).ok());
    (process, port)
}

struct Front {
    ca: WebCa,
    mesh: Mesh,
    https: u16,
    http: u16,
}

impl Front {
    /// The body, the status and where a redirect leads, as curl says them; `error` and curl's reason where there is none.
    fn ask(&self, scheme: &str, host: &str, client: Option<&str>) -> String {
        let port = if scheme == "https" { self.https } else { self.http };
        let file = |name: &str| self.ca.path(name).display().to_string();
        let mut arguments: Vec<String> =
            ["-sS", "-m", "20", "--http1.1", "-w", " %{http_code} %{redirect_url}"]
                .map(str::to_owned)
                .to_vec();
        arguments.extend(["--cacert".to_owned(), file("ca.crt")]);
        arguments.extend(["--resolve".to_owned(), format!("{host}:{port}:127.0.0.1")]);
        if let Some(name) = client {
            arguments.extend(["--cert".to_owned(), file(&format!("{name}.crt"))]);
            arguments.extend(["--key".to_owned(), file(&format!("{name}.key"))]);
        }
        arguments.push(format!("{scheme}://{host}:{port}/"));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = run("curl", &arguments);
        match output.status.success() {
            true => String::from_utf8_lossy(&output.stdout).into_owned(),
            false => format!("error {}", String::from_utf8_lossy(&output.stderr)),
        }
    }
}

const GATEWAY: &str = "\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: front, namespace: default}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: HTTPS, name: https-simple, protocol: HTTPS}
    hosts: [simple.example]
    tls: {mode: SIMPLE, credentialName: server}
  - port: {number: HTTPS, name: https-mutual, protocol: HTTPS}
    hosts: [mutual.example]
    tls: {mode: MUTUAL, credentialName: server}
  - port: {number: HTTPS, name: https-optional, protocol: HTTPS}
    hosts: [optional.example]
    tls: {mode: OPTIONAL_MUTUAL, credentialName: server}
  - port: {number: HTTPS, name: tls-passed, protocol: TLS}
    hosts: [passed.example]
    tls: {mode: PASSTHROUGH}
  - port: {number: 8080, name: http-redirected, protocol: HTTP}
    hosts: [simple.example]
    tls: {httpsRedirect: true}
  - port: {number: 8080, name: http, protocol: HTTP}
    hosts: [out.example, disabled.example]
---
";

/// To the outside: mutual TLS with a name of its own, found by DNS; and a port that TLS is forbidden for.
const OUTSIDE: &str = "\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: out, namespace: default}
spec:
  host: out.local
  trafficPolicy:
    tls: {mode: MUTUAL, credentialName: client, sni: far.example, subjectAltNames: [far.example]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: disabled, namespace: default}
spec:
  host: disabled.local
  trafficPolicy: {tls: {mode: DISABLE}, connectionPool: {http: {h2UpgradePolicy: UPGRADE}}}
---
";

/// A server whose TLS is passed on as it is, by the name that the client asks for.
fn passed(port: u16) -> String {
    format!(
        "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: passed, namespace: default}}
spec:
  hosts: [passed.local]
  ports: [{{number: 443, name: tls, protocol: TLS}}]
  resolution: STATIC
  endpoints: [{{address: 127.0.0.1, ports: {{tls: {port}}}}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: passed, namespace: default}}
spec:
  hosts: [passed.example]
  gateways: [front]
  tls:
  - match: [{{sniHosts: [passed.example]}}]
    route: [{{destination: {{host: passed.local, port: {{number: 443}}}}}}]
---
"
    )
}

#[test]
fn rules_of_tls_do_from_yaml_to_the_wire_what_they_say() {
    let ca = WebCa::new();
    ca.issue("server", "DNS:simple.example,DNS:mutual.example,DNS:optional.example");
    for (name, host) in [("far", "far.example"), ("passed", "passed.example"), ("client", "client.example")] {
        ca.issue(name, &format!("DNS:{host}"));
    }
    let origin = Origin::start("application");
    let (_far, far) = server(&ca, "far", &["-Verify", "1", "-verify_return_error"]);
    let (_passed, behind) = server(&ca, "passed", &[]);
    let https = free_port();
    let here = ("127.0.0.1", origin.address.port());
    let rules = [
        GATEWAY.replace("number: HTTPS", &format!("number: {https}")),
        secret(&ca, "server"),
        secret(&ca, "client"),
        OUTSIDE.to_owned(),
        passed(behind),
        service("simple.example", "simple", "HTTP", "STATIC", here),
        service("mutual.example", "mutual", "HTTP", "STATIC", here),
        service("optional.example", "optional", "HTTP", "STATIC", here),
        service("disabled.example", "disabled", "HTTP", "STATIC", here),
        service("out.example", "out", "HTTP", "DNS", ("localhost", far)),
    ];
    let mesh = Setup::new().file("rules.yaml", &rules.concat()).start();
    let http = mesh.ingress.port();
    let front = Front { ca, mesh, https, http };

    assert_eq!(front.ask("https", "simple.example", None), "application 200 ");
    let redirect = front.ask("http", "simple.example", None);
    assert!(redirect.contains(" 301 https://simple.example"), "httpsRedirect: {redirect}");
    let refused = front.ask("https", "mutual.example", None);
    assert!(refused.starts_with("error") && refused.contains("certificate required"), "MUTUAL: {refused}");
    for (host, client) in
        [("mutual.example", Some("client")), ("optional.example", None), ("optional.example", Some("client"))]
    {
        assert_eq!(front.ask("https", host, client), "application 200 ", "{host} with {client:?}");
    }
    let passed = front.ask("https", "passed.example", None);
    assert!(passed.contains("s_server") && passed.contains(" 200"), "PASSTHROUGH: {passed}");
    let out = front.ask("http", "out.example", None);
    assert!(out.contains("s_server") && out.contains(" 200"), "MUTUAL to a server found by DNS: {out}");
    assert!(out.contains("client.example") || out.contains("Client certificate"), "its certificate: {out}");
    assert_eq!(front.ask("http", "disabled.example", None), "application 200 ", "DISABLE");

    // Without its client certificate the far server does not speak to us, and the answer says why.
    let plain =
        OUTSIDE.replace("mode: MUTUAL, credentialName: client, ", "mode: SIMPLE, credentialName: server, ");
    let others: String = rules.iter().filter(|it| **it != OUTSIDE).map(String::as_str).collect();
    front.mesh.put("rules.yaml", &(others + &plain));
    eventually("the far server to refuse a client without a certificate", || {
        front.ask("http", "out.example", None).contains(" 503").then_some(())
    });
    assert_eq!(front.ask("https", "simple.example", None), "application 200 ", "others go on");
    let gateway: SocketAddr = front.mesh.admin("gateway");
    let config = dromon_tests::http::get(gateway, "/config", &[]).expect("a page").text();
    assert!(!config.contains("PRIVATE KEY"), "keys are in no dump");
}
