//! Every verb but a first ADD: repeated, too late, on damaged state, and under the names of the bundled plugins.

use crate::stage::{REFERENCE, Stage, bridge, bridge_with_ports, conf, has_reference, with};
use lab::runtime::Verb;
use serde_json::{Value, json};
use std::path::Path;

const ADDRESSES: [&str; 2] = ["10.42.15.2", "10.5.22.2"];

/// The article's configuration in the version that has every verb.
fn newest() -> Value {
    with(conf(), json!({"cniVersion": "1.1.0"}))
}

/// One network with everything that can be checked: a list with masquerading and a port of the node.
fn with_ports(stage: &Stage) -> (Value, lab::Pod) {
    stage.network("web", &bridge_with_ports("1.0.0", "web"));
    let networks = r#"[{"name": "web", "portMappings": [{"hostPort": 8080, "containerPort": 80}]}]"#;
    (newest(), stage.pod_with("web", networks))
}

#[test]
fn version_lists_every_version_and_needs_nothing_else() {
    let stage = Stage::new("version");
    let program = stage.lab.plugins().join("plexus");
    let answer =
        stage.execute(&program, &[("CNI_COMMAND", "VERSION".into())], &json!({"cniVersion": "1.1.0"})).result();
    assert_eq!(answer["supportedVersions"], json!(["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]));
}

#[test]
fn status_tells_whether_an_add_could_succeed() {
    let stage = Stage::new("status");
    let pod = stage.pod("overlay1pod");
    stage.lease("/run/flannel/subnet.env", "10.42.0.0/16", "10.42.15.1/30");
    let status = || {
        stage.call_with(
            Verb::Status,
            &pod,
            &newest(),
            &[("CNI_CONTAINERID", String::new()), ("CNI_NETNS", String::new()), ("CNI_IFNAME", String::new())],
        )
    };
    status().is_done();

    stage.add(&pod, &newest());
    status().is_refused(50, "no address left");
    let second = stage.pod("overlay2pod");
    let before = stage.snapshot();
    stage.call(Verb::Add, &second, &newest()).is_refused(11, "no IP addresses available");
    stage.nothing_left(&before, &second, &["10.5.22.2"]);
    stage.del(&pod, &newest());
    status().is_done();

    stage.node.run(["rm", "/run/flannel/subnet.env"]).unwrap();
    status().is_refused(50, "/run/flannel/subnet.env does not exist");
    stage.call(Verb::Add, &pod, &newest()).is_refused(11, "/run/flannel/subnet.env does not exist");
}

#[test]
fn verbs_that_a_version_does_not_have_are_refused() {
    let stage = Stage::new("old");
    let pod = stage.pod("overlay2pod");
    stage.add(&pod, &conf());
    for verb in [Verb::Check, Verb::Status, Verb::Gc] {
        stage.call(verb, &pod, &conf()).is_refused(1, "version does not allow");
    }
}

#[test]
fn check_finds_every_kind_of_damage() {
    let stage = Stage::new("check");
    let (conf, pod) = with_ports(&stage);
    let damage: [(&[&str], bool, &str); 7] = [
        (&["ip", "link", "del", "net1"], true, "net1"),
        (&["ip", "link", "set", "net1", "down"], true, "net1"),
        (&["ip", "addr", "del", "10.77.0.2/24", "dev", "net1"], true, "10.77.0.2/24"),
        (&["ip", "route", "del", "10.42.0.0/16"], true, "10.42.0.0/16"),
        (&["rm", "/var/lib/cni/networks/web/10.77.0.2"], false, "10.77.0.2"),
        (&["nft", "flush", "map", "ip", "plexus", "hostports"], false, "nftables"),
        (&["ip", "link", "del", "br-a"], false, "br-a"),
    ];
    for (words, inside, name) in damage {
        // without its cursor the network begins with the same address again
        stage.node.run(["rm", "-rf", "/var/lib/cni/networks/web"]).unwrap();
        stage.add(&pod, &conf);
        stage.call(Verb::Check, &pod, &conf).is_done();
        if inside { stage.node.run_in(&pod, words) } else { stage.node.run(words) }.unwrap();
        let answer = stage.call(Verb::Check, &pod, &conf);
        assert!(!answer.success, "{words:?} is not noticed");
        let (code, message) = answer.refusal();
        assert!(code == 999 && message.contains(name), "{words:?}: {code} {message}");
        stage.del(&pod, &conf);
    }
    stage.call(Verb::Check, &pod, &conf).is_refused(3, &pod.container);
}

#[test]
fn collecting_garbage_takes_exactly_what_is_not_listed() {
    let stage = Stage::new("gc");
    let before = stage.snapshot();
    let pods: Vec<_> = ["one", "two", "three"].into_iter().map(|name| stage.pod_with(name, "flannel.2")).collect();
    for pod in &pods {
        stage.add(pod, &newest());
    }
    let collect = |valid: Value| {
        let conf = with(newest(), valid);
        let unset = ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"].map(|name| (name, String::new()));
        stage.call_with(Verb::Gc, &pods[0], &conf, &unset)
    };
    collect(json!({})).is_refused(7, "cni.dev/valid-attachments");
    // the sandbox of one is gone with its links; of another only the links are the node's to take away
    stage.node.remove_sandbox(&pods[0]).unwrap();
    collect(json!({"cni.dev/valid-attachments": [{"containerID": pods[1].container, "ifname": "eth0"}]})).is_done();
    stage.call(Verb::Check, &pods[1], &newest()).is_done();
    assert_eq!(stage.interfaces(&pods[1]), ["eth0", "net1"]);
    assert_eq!(stage.interfaces(&pods[2]), [""; 0]);
    assert_eq!(stage.files("/var/lib/cni/plexus/journal").len(), 1);
    assert_eq!(stage.files("/var/lib/cni/networks/flannel.1"), ["10.42.15.3", "last_reserved_ip.0", "lock"]);
    collect(json!({"cni.dev/valid-attachments": []})).is_done();
    let names: Vec<_> = pods.iter().map(|pod| pod.container.as_str()).collect();
    let left = stage.snapshot().leftovers_since(&before, &["kbr0", "kbr1"], &names);
    let left: Vec<_> = left.iter().filter(|line| !line.contains("/run/netns/")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn del_succeeds_again_without_a_sandbox_and_for_a_container_nobody_knows() {
    let stage = Stage::new("del");
    let pod = stage.pod("overlay2pod");
    let before = stage.snapshot();
    stage.del(&pod, &conf());
    stage.nothing_left(&before, &pod, &[]);

    stage.add(&pod, &conf());
    stage.del(&pod, &conf());
    stage.del(&pod, &conf());
    stage.nothing_left(&before, &pod, &ADDRESSES);

    stage.add(&pod, &conf());
    stage.call_with(Verb::Del, &pod, &conf(), &[("CNI_NETNS", String::new())]).is_done();
    stage.nothing_left(&before, &pod, &["10.42.15.3", "10.5.22.3"]);

    stage.add(&pod, &conf());
    stage.node.remove_sandbox(&pod).unwrap();
    stage.del(&pod, &conf());
    assert_eq!(stage.files("/var/lib/cni/plexus/journal"), [""; 0]);
    assert_eq!(stage.files("/var/lib/cni/networks/flannel.2"), ["last_reserved_ip.0", "lock"]);
}

#[test]
fn del_needs_neither_the_pod_nor_the_network_nor_the_subnet_file() {
    let stage = Stage::new("del-alone");
    let pod = stage.pod("overlay2pod");
    let before = stage.snapshot();
    stage.add(&pod, &conf());
    stage.node.run(["rm", "-r", "/etc/cni/manifests", "/run/flannel"]).unwrap();
    stage.del(&pod, &conf());
    stage.lease("/run/flannel/subnet.env", "10.42.0.0/16", "10.42.15.1/24");
    stage.lease("/run/flannel/flannel2.env", "10.5.0.0/16", "10.5.22.1/24");
    stage.nothing_left(&before, &pod, &ADDRESSES);
}

#[test]
fn a_second_add_leaves_the_pod_untouched_and_answers_the_same() {
    let stage = Stage::new("add-twice");
    let pod = stage.pod("overlay2pod");
    let first = stage.add(&pod, &conf());
    let node = stage.snapshot();
    let sandbox = stage.node.run_in(&pod, ["ip", "addr"]).unwrap();
    let index =
        |text: &str| text.lines().filter(|line| !line.contains("valid_lft")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(stage.add(&pod, &conf()), first);
    stage.is_as(&node);
    assert_eq!(index(&stage.node.run_in(&pod, ["ip", "addr"]).unwrap()), index(&sandbox));
}

#[test]
fn an_add_in_a_new_sandbox_of_the_same_container_starts_over() {
    let stage = Stage::new("add-again");
    let pod = stage.pod("overlay2pod");
    stage.add(&pod, &conf());
    stage.node.remove_sandbox(&pod).unwrap();
    stage.node.space().make_netns(pod.netns()).unwrap();
    stage.add(&pod, &conf());
    assert_eq!(stage.interfaces(&pod), ["eth0", "net1"]);
}

#[test]
fn del_cleans_although_the_journal_is_damaged() {
    let stage = Stage::new("damaged");
    let pod = stage.pod("overlay2pod");
    let before = stage.snapshot();
    for cut in ["", "plexus-journal 1 done\n{\"format\": 1, \"key\"", "\0\0\0\0"] {
        stage.add(&pod, &conf());
        let [entry] = stage.files("/var/lib/cni/plexus/journal").try_into().unwrap();
        stage.node.write(Path::new("/var/lib/cni/plexus/journal").join(entry), cut).unwrap();
        stage.del(&pod, &conf());
        stage.nothing_left(&before, &pod, &[]);
    }
}

#[test]
fn the_nodes_own_namespace_is_refused_before_anything_is_done() {
    let stage = Stage::new("own");
    let pod = stage.pod("overlay2pod");
    let own = format!("/proc/{}/ns/net", stage.node.space().pid());
    let before = stage.snapshot();
    stage.call_with(Verb::Add, &pod, &conf(), &[("CNI_NETNS", own)]).is_refused(8, "");
    stage.is_as(&before);
    stage
        .call_with(Verb::Add, &pod, &conf(), &[("CNI_NETNS", "/run/netns/none".into())])
        .is_refused(8, "/run/netns/none");
    stage.is_as(&before);
}

#[test]
fn bridge_and_host_local_are_plugins_of_their_own() {
    let stage = Stage::new("as-bridge");
    let pod = stage.pod("web");
    let before = stage.snapshot();
    let conf = with(bridge("1.0.0", "plain"), json!({"isGateway": true, "isDefaultGateway": true, "ipMasq": true}));
    let result = stage.add(&pod, &conf);
    assert_eq!(result["interfaces"].as_array().unwrap().len(), 3);
    assert_eq!(stage.interface(&pod, "eth0"), "10.77.0.2/24 mtu 1500");
    assert_eq!(stage.routes(&pod)[1], "default via 10.77.0.1 dev eth0");
    stage.call(Verb::Check, &pod, &with(conf.clone(), json!({"prevResult": result}))).is_done();
    stage.del(&pod, &with(conf, json!({"prevResult": result})));
    stage.nothing_left(&before, &pod, &["10.77.0.2"]);
}

#[test]
fn flannel_is_a_plugin_of_its_own() {
    let stage = Stage::new("as-flannel");
    let pod = stage.pod("web");
    let before = stage.snapshot();
    let conf = json!({"cniVersion": "0.3.1", "name": "cbr0", "type": "flannel", "delegate": {"isDefaultGateway": true, "bridge": "br-a"}});
    let result = stage.add(&pod, &conf);
    assert_eq!(result["routes"], json!([{"dst": "10.42.0.0/16"}, {"dst": "0.0.0.0/0", "gw": "10.42.15.1"}]));
    stage.del(&pod, &conf);
    stage.nothing_left(&before, &pod, &["10.42.15.2"]);
}

#[test]
fn portmap_is_a_plugin_of_its_own_behind_any_other() {
    let stage = Stage::new("as-portmap");
    let pod = stage.pod("web");
    let before = stage.snapshot();
    let made = stage.add(&pod, &bridge("1.0.0", "plain"));
    let conf = json!({
        "cniVersion": "1.0.0", "name": "plain", "type": "portmap", "prevResult": made,
        "capabilities": {"portMappings": true},
        "runtimeConfig": {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "udp"}]},
    });
    assert_eq!(stage.add(&pod, &conf), made);
    assert!(stage.ruleset().contains("udp . 8080"));
    stage.del(&pod, &conf);
    stage.del(&pod, &bridge("1.0.0", "plain"));
    stage.nothing_left(&before, &pod, &["10.77.0.2", "8080"]);
    let mut alone = conf;
    alone.as_object_mut().unwrap().remove("prevResult");
    stage.call(Verb::Add, &pod, &alone).is_refused(7, "chained");
}

#[test]
fn loopback_sets_lo_up_and_down() {
    let stage = Stage::new("as-loopback");
    let mut pod = stage.pod("web");
    pod.ifname = "lo".into();
    let conf = json!({"cniVersion": "1.0.0", "name": "lo", "type": "loopback"});
    stage.add(&pod, &conf);
    let is_up = || stage.node.run_in(&pod, ["ip", "link", "show", "lo", "up"]).unwrap().contains("lo");
    assert!(is_up());
    stage.call(Verb::Check, &pod, &conf).is_done();
    stage.del(&pod, &conf);
    assert!(!is_up());
}

#[test]
fn the_reference_bridge_is_served_by_our_host_local() {
    if !has_reference("bridge") {
        return;
    }
    let stage = Stage::new("their-bridge");
    let pod = stage.pod("web");
    let before = stage.snapshot();
    let (program, conf) = (Path::new(REFERENCE).join("bridge"), bridge("1.0.0", "plain"));
    let result = stage.execute(&program, &stage.environment(Verb::Add, &pod), &conf).result();
    assert_eq!(result["ips"][0]["address"], "10.77.0.2/24");
    assert_eq!(stage.node.read("/var/lib/cni/networks/plain/10.77.0.2").unwrap(), format!("{}\r\neth0", pod.container));
    stage.execute(&program, &stage.environment(Verb::Del, &pod), &conf).is_done();
    stage.nothing_left(&before, &pod, &["10.77.0.2"]);
}

#[test]
fn what_the_reference_bridge_has_made_is_taken_away() {
    if !has_reference("bridge") {
        return;
    }
    let stage = Stage::new("their-pods");
    let pod = stage.pod("web");
    let before = stage.snapshot();
    let (program, conf) = (Path::new(REFERENCE).join("bridge"), bridge("1.0.0", "plain"));
    let mut environment = stage.environment(Verb::Add, &pod);
    environment.retain(|(name, _)| *name != "CNI_PATH");
    environment.push(("CNI_PATH", REFERENCE.to_owned()));
    let result = stage.execute(&program, &environment, &conf).result();
    stage.del(&pod, &with(conf, json!({"prevResult": result})));
    stage.nothing_left(&before, &pod, &["10.77.0.2"]);
}

#[test]
fn what_flannels_own_plugin_has_written_down_is_taken_away() {
    if !has_reference("bridge") {
        return;
    }
    let stage = Stage::new("their-flannel");
    let pod = stage.pod("web");
    let before = stage.snapshot();
    let saved = with(bridge("0.3.1", "cbr0"), json!({"isGateway": true}));
    let mut environment = stage.environment(Verb::Add, &pod);
    environment.retain(|(name, _)| *name != "CNI_PATH");
    environment.push(("CNI_PATH", REFERENCE.to_owned()));
    stage.execute(&Path::new(REFERENCE).join("bridge"), &environment, &saved).result();
    stage.node.write(format!("/var/lib/cni/flannel/{}", pod.container), &saved.to_string()).unwrap();
    let conf =
        json!({"cniVersion": "0.3.1", "name": "cbr0", "type": "flannel", "delegate": {"isDefaultGateway": true}});
    stage.del(&pod, &conf);
    stage.nothing_left(&before, &pod, &["10.77.0.2"]);
}
