use super::*;

#[test]
fn equal_values_become_one_and_unused_ones_go() {
    let mut shared = Shared::default();
    let mut held: Vec<Arc<String>> = (0..200).map(|it| Arc::new((it % 5).to_string())).collect();
    held.iter_mut().for_each(|it| shared.share(it));
    assert_eq!(shared.known.len(), 5);
    assert!(held.iter().skip(5).zip(&held).all(|(later, earlier)| Arc::ptr_eq(later, earlier)));
    for number in 0..10_000 {
        shared.share(&mut Arc::new(format!("gone at once {number}")));
    }
    assert!(shared.known.len() < 200, "{} are kept", shared.known.len());
    assert!(held.iter().take(5).all(|it| shared.known.contains(it)), "what is in use stays");
}
