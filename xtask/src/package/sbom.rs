//! The software bill of materials: which crates are in a binary (CycloneDX 1.5).

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Release;
use super::crates::{self, Crate};
use super::target::Target;

/// The bill for one target, as JSON.
pub(super) fn of(target: Target, linked: &[Crate], release: &Release) -> Result<String, String> {
    let checksums = crates::checksums()?;
    let component = |one: &Crate| {
        let mut component = json!({
            "type": "library",
            "bom-ref": one.id(),
            "name": one.name,
            "version": one.version,
            "licenses": [{"expression": one.licence}],
        });
        // A crate of this workspace that is a part of the program is in no registry.
        if !one.own || one.name == "gatepass" {
            component["purl"] = purl(one).into();
        }
        if let Some(sum) = checksums.get(&one.id()) {
            component["hashes"] = json!([{"alg": "SHA-256", "content": sum}]);
        }
        if let Some(address) = &one.repository {
            component["externalReferences"] = json!([{"type": "vcs", "url": address}]);
        }
        component
    };
    let (own, others): (Vec<&Crate>, Vec<&Crate>) =
        linked.iter().partition(|one| one.name == "gatepass");
    let own = own.first().ok_or("gatepass is not among its crates")?;
    let mut root = component(own);
    root["type"] = "application".into();
    root["properties"] = json!([{"name": "cdx:rustc:target_triple", "value": target.triple()}]);
    let mut bill = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"timestamp": timestamp(release.epoch), "component": root},
        "components": others.into_iter().map(component).collect::<Vec<_>>(),
        "dependencies": linked
            .iter()
            .map(|one| json!({"ref": one.id(), "dependsOn": one.needs}))
            .collect::<Vec<_>>(),
    });
    bill["serialNumber"] = format!("urn:uuid:{}", uuid(&bill.to_string())).into();
    Ok(pretty(&bill))
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

fn purl(one: &Crate) -> String {
    // Only `+` of a version's metadata needs an escape there.
    format!("pkg:cargo/{}@{}", one.name, one.version.replace('+', "%2B"))
}

/// A UUID that depends on a text alone (version 8 of RFC 9562: bits of our own).
pub(super) fn uuid(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    let mut bytes = [0_u8; 16];
    bytes.copy_from_slice(&digest[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ]
    .join("-")
}

/// A moment as RFC 3339 in UTC.
pub(super) fn timestamp(epoch: u64) -> String {
    let (days, rest) = (epoch / 86_400, epoch % 86_400);
    // Days to a date, after Howard Hinnant's `civil_from_days`; years here begin in March.
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::{timestamp, uuid};

    #[test]
    fn moments_are_dates() {
        for (epoch, date) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_826_154, "2000-02-29T12:09:14Z"),
            (1_798_761_599, "2026-12-31T23:59:59Z"),
        ] {
            assert_eq!(timestamp(epoch), date);
        }
    }

    #[test]
    fn the_same_text_gives_the_same_well_formed_uuid() {
        let id = uuid("gatepass");
        assert_eq!(id, uuid("gatepass"));
        assert_ne!(id, uuid("gatepasS"));
        assert_eq!(id.len(), 36);
        assert_eq!(&id[14..15], "8");
    }
}
