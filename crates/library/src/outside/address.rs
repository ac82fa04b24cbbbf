//! What an address tells about where it leads: this machine, its network, or the internet.

use std::net::{IpAddr, Ipv4Addr};

use reqwest::Url;

use super::shown;

/// How a redirect is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// From inside to anywhere: whoever is in this network may lead on within it.
    Inside,
    /// From the internet: it may lead to the internet only.
    Outward,
}

/// Whether a redirect from `from`, whose server had the address `peer`, to `to` is followed, and how.
///
/// # Errors
/// Why it is not.
pub(super) fn turn(from: &Url, peer: Option<IpAddr>, to: &Url) -> Result<Turn, String> {
    let target = shown(to);
    match to.scheme() {
        "https" => {}
        "http" if from.scheme() == "http" => {}
        "http" => {
            return Err(format!(
                "it is redirected to {target}, which is not encrypted, from an address that is"
            ));
        }
        _ => return Err(format!("it is redirected to {target}, which is no web address")),
    }
    if is_loopback(from) {
        return Ok(Turn::Inside);
    }
    // A server that is reached over loopback under another name may be a proxy, which says nothing.
    let is_neighbour = literal(from).or(peer).is_some_and(|ip| is_inner(ip) && !ip.is_loopback());
    let leads_here = is_loopback(to);
    let leads_inside = leads_here || literal(to).is_some_and(is_inner);
    if leads_here || leads_inside && !is_neighbour {
        return Err(format!(
            "it is redirected to {target}, which is on this machine or in its network"
        ));
    }
    Ok(if is_neighbour { Turn::Inside } else { Turn::Outward })
}

/// Where a question at `asked` leads next, with the name and password of `asked` if that is on the same server:
/// the address of an answer has none, nor has one to which a server redirects, and the next question needs them.
pub(crate) fn with_password_of(asked: &Url, answered: &Url) -> Url {
    let mut url = answered.clone();
    if answered.origin() == asked.origin() {
        // Only addresses without a server refuse these, and such an address gives no answer.
        let _accepted = url.set_username(asked.username());
        let _accepted = url.set_password(asked.password());
    }
    url
}

/// `url` without its name and password.
pub(super) fn without_password(url: &Url) -> Url {
    let mut url = url.clone();
    // Only addresses without a server refuse these, and such an address is never asked for.
    let _accepted = url.set_username("");
    let _accepted = url.set_password(None);
    url
}

/// Whether `url` names this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    host == "localhost" || host.ends_with(".localhost") || literal(url).is_some_and(is_this_machine)
}

/// Whether nobody between here and the server of `url` can read what is sent.
pub(super) fn is_private_way(url: &Url) -> bool {
    url.scheme() == "https" || is_loopback(url)
}

/// Whether `ip` is this machine's, or of a network that the internet does not reach. Sources: RFC 1918, RFC 6598,
/// RFC 3927, RFC 4193, RFC 4291.
pub(super) fn is_inner(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_inner_v4(ip),
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(mapped) => is_inner_v4(mapped),
            None => {
                ip.is_loopback()
                    || ip.is_unspecified()
                    || ip.is_unique_local()
                    || ip.is_unicast_link_local()
            }
        },
    }
}

fn is_inner_v4(ip: Ipv4Addr) -> bool {
    let is_shared = ip.octets()[0] == 100 && (64..128).contains(&ip.octets()[1]);
    // 0.0.0.0/8 means "this network", and Linux takes it for this machine.
    ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.octets()[0] == 0 || is_shared
}

fn is_this_machine(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    ip.is_loopback() || ip.is_unspecified()
}

/// The host of `url`, when it is written as numbers.
fn literal(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(from: &str, peer: Option<&str>, to: &str, expected: Result<Turn, &str>) {
        let [from, to] = [from, to].map(|url| Url::parse(url).unwrap());
        let found = turn(&from, peer.map(|ip| ip.parse().unwrap()), &to);
        match (found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{from} -> {to}"),
            (Err(found), Err(part)) => assert!(found.contains(part), "{found}"),
            (found, _) => panic!("{from} -> {to}: {found:?}"),
        }
    }

    #[test]
    fn from_the_internet_only_to_the_internet() {
        let hub = "https://huggingface.co/x";
        let public = Some("3.160.1.1");
        check(hub, public, "https://cdn.example/y", Ok(Turn::Outward));
        check(hub, None, "https://cdn.example/y", Ok(Turn::Outward));
        // A proxy on this machine.
        check(hub, Some("127.0.0.1"), "https://cdn.example/y", Ok(Turn::Outward));
        for inner in [
            "https://127.0.0.1/y",
            "https://127.1/y",
            "https://0.0.0.0/y",
            "https://[::1]/y",
            "https://[::ffff:10.0.0.1]/y",
            "https://[::ffff:127.0.0.1]/y",
            "https://localhost/y",
            "https://a.localhost/y",
            "https://10.0.0.7/y",
            "https://169.254.169.254/latest/meta-data",
            "https://192.168.1.1/y",
            "https://100.64.0.1/y",
            "https://[fd00::1]/y",
            "https://[fe80::1]/y",
        ] {
            check(hub, public, inner, Err("on this machine or in its network"));
            check(hub, Some("127.0.0.1"), inner, Err("on this machine or in its network"));
        }
        check(hub, public, "http://cdn.example/y", Err("not encrypted"));
        check(hub, public, "file:///etc/passwd", Err("no web address"));
    }

    #[test]
    fn from_inside_to_anywhere_but_this_machine() {
        check("http://mirror.lan/x", Some("192.168.1.9"), "http://10.0.0.1/y", Ok(Turn::Inside));
        check("http://10.0.0.9/x", None, "https://10.0.0.1/y", Ok(Turn::Inside));
        check("http://10.0.0.9/x", None, "http://127.0.0.1/y", Err("on this machine"));
        check("http://127.0.0.1:1/x", Some("127.0.0.1"), "http://127.0.0.1:2/y", Ok(Turn::Inside));
        check("http://localhost:1/x", None, "http://10.0.0.1/y", Ok(Turn::Inside));
    }

    #[test]
    fn passwords_stay_with_their_server() {
        for (asked, answered, expected) in [
            ("https://me:p%40ss@h/a", "https://h/b?c=1", "https://me:p%40ss@h/b?c=1"),
            ("https://me:p@h/a", "https://h:443/a", "https://me:p@h/a"),
            ("https://key@h/a", "https://h/a", "https://key@h/a"),
            ("https://h/a", "https://h/b", "https://h/b"),
            ("https://me:p@h/a", "https://cdn.h/a", "https://cdn.h/a"),
            ("https://me:p@h/a", "https://h:444/a", "https://h:444/a"),
            ("http://me:p@h/a", "https://h/a", "https://h/a"),
        ] {
            let [asked, answered] = [asked, answered].map(|url| Url::parse(url).unwrap());
            assert_eq!(with_password_of(&asked, &answered).as_str(), expected, "{asked}");
        }
    }
}
