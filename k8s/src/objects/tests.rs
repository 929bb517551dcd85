use super::*;
use crate::parse;

fn service(file: &str, port: u16) -> Sourced {
    let text = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: a}}\nspec: {{ports: [{{name: http, port: {port}}}]}}\n"
    );
    parse::text(file, &text).objects.remove(0)
}

fn port(set: &ObjectSet, key: &Key) -> i32 {
    match &set.get(key).expect("in force").object {
        Object::Service(it) => it.spec.as_ref().and_then(|spec| spec.ports.as_ref()).expect("ports")[0].port,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_last_file_by_name_is_in_force_and_gives_way_when_removed() {
    let mut set = ObjectSet::new();
    let key = service("a.yaml", 1).key;
    set.insert(service("b.yaml", 2));
    set.insert(service("a.yaml", 1));
    assert_eq!(port(&set, &key), 2);
    assert_eq!(set.hidden().map(|(hidden, _)| hidden.file.to_string()).collect::<Vec<_>>(), ["a.yaml"]);
    set.insert(service("b.yaml", 3));
    assert_eq!(port(&set, &key), 3);
    set.remove_file("b.yaml");
    assert_eq!(port(&set, &key), 1);
    assert!(set.remove(&key, "a.yaml"));
    assert!(set.is_empty());
}

#[test]
fn a_line_is_found_for_the_nearest_field_around() {
    let lines = Lines::new(3, vec![("spec".into(), 5), ("spec.http[0]".into(), 7)]);
    assert_eq!(lines.of("spec.http[0].route[1].weight"), Some(7));
    assert_eq!(lines.of("spec.hosts"), Some(5));
    assert_eq!(lines.of("metadata.name"), Some(3));
    assert_eq!(Lines::default().of("spec"), None);
}
