use super::*;

#[test]
fn an_id_names_role_name_and_namespace() {
    assert_eq!(role("sidecar~reviews-v1.default"), Ok(Role::Sidecar));
    assert_eq!(role("gateway~ingress.istio-system"), Ok(Role::Gateway));
    for wrong in
        ["", "reviews", "sidecar~", "sidecar~reviews", "sidecar~.default", "sidecar~a.", "router~a.b"]
    {
        assert_eq!(role(wrong), Err(SettingsError::Id(wrong.into())), "{wrong:?}");
    }
}
