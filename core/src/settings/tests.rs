use super::*;

#[test]
fn pin_lists_are_read() {
    assert_eq!(Pin::parse("auto"), Ok(Pin::Auto));
    assert_eq!(Pin::parse("off"), Ok(Pin::Off));
    assert_eq!(Pin::parse("0,2-3"), Ok(Pin::List(vec![0, 2, 3])));
    for bad in ["x", "", "0-", "3-2", "0-999999999"] {
        assert!(Pin::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn every_driver_is_read_by_its_name() {
    for driver in Driver::ALL {
        assert_eq!(Driver::parse(driver.name()), Ok(driver));
    }
    assert_eq!(Driver::parse("iouring"), Err(SettingError::Driver));
}
