use clap::{CommandFactory as _, Parser as _};

use super::*;

fn parse(line: &str) -> Command {
    Cli::try_parse_from(line.split(' ')).unwrap_or_else(|error| panic!("{line}: {error}")).command
}

#[test]
fn the_command_tree_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn the_flags_of_dev_that_scripts_rely_on_have_their_defaults() {
    let Command::Dev(args) = parse("data-runner dev") else { panic!("not dev") };
    assert_eq!(args.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(args.grpc_listen.to_string(), "127.0.0.1:7070");
    assert_eq!(args.state_dir.to_string_lossy(), ".data-runner");
    assert_eq!(args.workers, 2);
}

#[test]
fn the_flags_of_dev_that_scripts_rely_on_are_read() {
    let line = "data-runner dev a b --demo --listen 127.0.0.1:0 --grpc-listen 127.0.0.1:0 --state-dir s --workers 3 \
                --exit-after-demo";
    let Command::Dev(args) = parse(line) else { panic!("not dev") };
    assert_eq!(args.repositories, ["a", "b"]);
    assert!(args.demo && args.exit_after_demo);
    assert_eq!((args.listen.port(), args.workers), (0, 3));
}

#[test]
fn dev_listens_where_other_machines_reach_it_under_no_flag() {
    for flag in ["--listen", "--grpc-listen"] {
        for address in ["0.0.0.0:8080", "[::]:0", "10.0.1.5:7070"] {
            let error =
                Cli::try_parse_from(["data-runner", "dev", flag, address]).expect_err(address).to_string();
            assert!(error.contains("can be reached from other machines"), "{error}");
        }
        assert!(Cli::try_parse_from(["data-runner", "dev", flag, "[::1]:0"]).is_ok(), "{flag}");
    }
}

#[test]
fn a_parameter_keeps_every_equals_sign_after_the_first() {
    let Command::Run(args) = parse("data-runner run wf -p where=a=b -p empty=") else { panic!("not run") };
    let expected = [("where", "a=b"), ("empty", "")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(args.param, expected);
    assert!(Cli::try_parse_from(["data-runner", "run", "wf", "-p", "novalue"]).is_err());
}

#[test]
fn only_commands_that_follow_a_job_end_with_its_code() {
    for line in ["run wf", "wait", "logs -f", "retry -f latest"] {
        assert!(parse(&format!("data-runner {line}")).reports_the_job(), "{line}");
    }
    for line in ["ps", "logs", "retry latest", "cancel x", "workflow list", "worker list"] {
        assert!(!parse(&format!("data-runner {line}")).reports_the_job(), "{line}");
    }
}

#[test]
fn the_help_is_as_it_was() {
    let mut command = Cli::command().term_width(80);
    insta::assert_snapshot!("help", command.render_help());
    for name in ["dev", "run", "logs", "validate"] {
        let mut sub = command.find_subcommand_mut(name).expect("a command").clone();
        insta::assert_snapshot!(format!("help_{name}"), sub.render_help());
    }
}
