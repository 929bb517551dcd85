//! A range of addresses.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A version of IP. Each has rules of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    /// Both, in the order in which they are installed.
    pub const ALL: [Family; 2] = [Family::V4, Family::V6];

    /// The family of an address.
    pub fn of(address: IpAddr) -> Family {
        if address.is_ipv4() { Family::V4 } else { Family::V6 }
    }

    /// As people write it.
    pub fn name(self) -> &'static str {
        match self {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        }
    }

    /// Bits of an address.
    pub fn bits(self) -> u8 {
        match self {
            Family::V4 => 32,
            Family::V6 => 128,
        }
    }
}

/// A range of addresses: those that agree with `address` in the first `prefix` bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// The range that an address lies in; none where the prefix is longer than an address. Bits behind the prefix are
    /// dropped, as netfilter's programs drop them.
    pub fn new(address: IpAddr, prefix: u8) -> Option<Cidr> {
        if prefix > Family::of(address).bits() {
            return None;
        }
        let address = match address {
            IpAddr::V4(it) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(it.to_bits() & mask))
            }
            IpAddr::V6(it) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(it.to_bits() & mask))
            }
        };
        Some(Cidr { address, prefix })
    }

    /// One address.
    pub fn host(address: IpAddr) -> Cidr {
        Cidr { address, prefix: Family::of(address).bits() }
    }

    /// The family's loopback addresses.
    pub fn loopback(family: Family) -> Cidr {
        match family {
            Family::V4 => Cidr { address: IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), prefix: 8 },
            Family::V6 => Cidr::host(IpAddr::V6(Ipv6Addr::LOCALHOST)),
        }
    }

    /// Reads `10.0.0.0/8`, `fd00::/8` or a single address; none if it is neither.
    pub fn parse(text: &str) -> Option<Cidr> {
        let Some((address, prefix)) = text.split_once('/') else {
            return Some(Cidr::host(text.parse().ok()?));
        };
        let is_number = !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_digit());
        let prefix = if is_number { prefix.parse().ok()? } else { return None };
        Cidr::new(address.parse().ok()?, prefix)
    }

    /// Its family.
    pub fn family(self) -> Family {
        Family::of(self.address)
    }

    /// Every address of the family is in it.
    pub fn is_everything(self) -> bool {
        self.prefix == 0
    }

    /// The range is a single address.
    pub fn is_host(self) -> bool {
        self.prefix == self.family().bits()
    }

    /// The first address.
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// Whether the address is in it.
    pub fn contains(self, address: IpAddr) -> bool {
        Family::of(address) == self.family() && Cidr::new(address, self.prefix) == Some(self)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}
