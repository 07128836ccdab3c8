"""Reads exports and templates with readers that had no part in writing them. The first problem ends it.

    readers.py GOLDEN PACKAGING POLICY.TOML
"""

import json
import plistlib
import re
import sys
import tomllib
import xml.etree.ElementTree as ElementTree
from pathlib import Path

GOLDEN, PACKAGING, POLICY = (Path(argument) for argument in sys.argv[1:4])
XML = "{http://schemas.microsoft.com/GroupPolicy/2006/07/PolicyDefinitions}"


def check(condition, *what):
    if not condition:
        sys.exit(" ".join(str(part) for part in what))


def registry(path):
    """The keys of a registration file, with numbers as numbers."""
    keys, key = {}, None
    for line in path.read_bytes().decode("utf-16").splitlines()[1:]:
        if line.startswith("["):
            key = keys.setdefault(line[1:-1], {})
        elif line:
            name, value = re.fullmatch(r'"((?:[^"\\]|\\.)*)"=(.*)', line).groups()
            if value.startswith("dword:"):
                key[name] = int(value.removeprefix("dword:"), 16)
            else:
                key[name] = re.sub(r"\\(.)", r"\1", value[1:-1])
    return keys


def profile(path):
    """The payloads of a configuration profile, by their domain."""
    root = plistlib.loads(path.read_bytes())
    check(root["PayloadType"] == "Configuration", path, "is no profile")
    check(root["PayloadScope"] == "System", path, "is not the machine's")
    identifiers = {root["PayloadUUID"], root["PayloadIdentifier"]}
    payloads = {}
    for payload in root["PayloadContent"]:
        identifiers |= {payload["PayloadUUID"], payload["PayloadIdentifier"]}
        own = {name: value for name, value in payload.items() if not name.startswith("Payload")}
        payloads[payload["PayloadType"]] = own
    check(len(identifiers) == 2 + 2 * len(payloads), path, "has an identifier twice")
    return payloads


def intune(path):
    """What a device would write: each setting finds its policy in the template, and that its key and value."""
    document = json.loads(path.read_text())
    check(document["@odata.type"] == "#microsoft.graph.windows10CustomConfiguration", path)
    template, *settings = document["omaSettings"]
    app, kind, _ = template["omaUri"].split("/ADMXInstall/")[1].split("/")
    root = ElementTree.fromstring(template["value"])
    categories = {category.get("name") for category in root.find(f"{XML}categories")}
    policies = {policy.get("name"): policy for policy in root.find(f"{XML}policies")}
    check(len(policies) == len(settings), path, "enables another number of policies than it brings")
    keys = {}
    for setting in settings:
        area, name = setting["omaUri"].removeprefix("./Device/Vendor/MSFT/Policy/Config/").split("/")
        policy = policies[name]
        category = policy.find(f"{XML}parentCategory").get("ref")
        check(category in categories, path, category)
        check(area == f"{app}~{kind}~{category}", path, area)
        (element,) = policy.find(f"{XML}elements")
        _, data = ElementTree.fromstring(f"<v>{setting['value']}</v>")
        check(data.get("id") == element.get("id"), path, setting["value"])
        value = data.get("value")
        if element.tag == f"{XML}decimal":
            value = int(value)
        key = keys.setdefault("HKEY_LOCAL_MACHINE\\" + policy.get("key"), {})
        key[element.get("valueName")] = value
    return keys


def native(value):
    """A value of the registry, as property lists have it."""
    if isinstance(value, str) and value[:1] in ("[", "{"):
        return json.loads(value)
    return value


def camel(name):
    first, *words = name.split("_")
    return first + "".join(word.capitalize() for word in words)


def templates():
    """Every name that a policy may have, from each template; they agree."""
    admx = ElementTree.parse(PACKAGING / "windows/gatepass.admx").getroot()
    adml = ElementTree.parse(PACKAGING / "windows/en-US/gatepass.adml").getroot()
    strings = {string.get("id") for string in adml.iter(f"{XML}string")}
    presentations = {shown.get("id"): shown for shown in adml.iter(f"{XML}presentation")}
    names = set()
    for policy in admx.iter(f"{XML}policy"):
        for attribute in policy.attrib.values():
            for reference in re.findall(r"\$\(string\.([^)]*)\)", attribute):
                check(reference in strings, "gatepass.adml lacks the string", reference)
        values = [policy.get("valueName")] if policy.get("valueName") else []
        for element in policy.find(f"{XML}elements") or []:
            values.append(element.get("valueName"))
            shown = presentations[re.fullmatch(r"\$\(presentation\.(.*)\)", policy.get("presentation"))[1]]
            references = {control.get("refId") for control in shown}
            check(element.get("id") in references, policy.get("name"), "is not shown")
            for item in element:
                check(item.get("displayName")[9:-1] in strings, item.get("displayName"))
        if policy.get("key") == r"SOFTWARE\Policies\Gatepass":
            names.update(values)
    manifest = plistlib.loads((PACKAGING / "macos/io.gatepass.helper.plist").read_bytes())
    in_manifest = [key["pfm_name"] for key in manifest["pfm_subkeys"]]
    check(len(set(in_manifest)) == len(in_manifest), "a key stands twice in the manifest")
    own = {name for name in in_manifest if not name.startswith("Payload")} - {"defaults", "profiles"}
    check(own == names, "manifest and ADMX differ:", own ^ names)
    jamf = json.loads((PACKAGING / "mdm/jamf/gatepass.schema.json").read_text())
    in_jamf = set(jamf["properties"]) - {"defaults"}
    check(in_jamf == names, "Jamf's schema and ADMX differ:", in_jamf ^ names)
    return names


names = templates()
forms = (".mobileconfig", ".reg", ".intune.json")
golden = [GOLDEN / f"desktop-policy{form}" for form in forms]
lab = [GOLDEN / f"desktop-lab-policy{form}" for form in forms]
examples = [
    PACKAGING / file for file in ("macos/example.mobileconfig", "windows/example.reg", "mdm/intune/example.json")
]
for files, below in ((golden, ()), (lab, ("profiles", "lab")), (examples, ())):
    mac, windows = profile(files[0]), registry(files[1])
    check(intune(files[2]) == windows, "Intune and the registry differ")
    claude = windows.pop(r"HKEY_LOCAL_MACHINE\SOFTWARE\Policies\Claude")
    there = mac["com.anthropic.claudefordesktop"]
    check(all(isinstance(value, str) for value in [*there.values(), *claude.values()]), "no string")
    differing = {name for name in there | claude if there.get(name) != claude.get(name)}
    check(differing == {"inferenceCredentialHelper"}, "Claude Desktop is told other things:", differing)
    ((path, own),) = windows.items()
    check(path == "\\".join([r"HKEY_LOCAL_MACHINE\SOFTWARE\Policies\Gatepass", *below]).replace("profiles", "Profiles"), path)
    policy = mac["io.gatepass.helper"]
    for part in below:
        policy = policy[part]
    check({name: native(value) for name, value in own.items()} == policy, "the policies differ")
    check(set(policy) <= names, "no template offers", set(policy) - names)
    if files is golden:
        linux = tomllib.loads(POLICY.read_text())
        check(list(linux) == ["locked"], list(linux))
        locked = {camel(name): value for name, value in linux["locked"].items()}
        check(locked == policy, "the policy on Linux differs:", locked, policy)
