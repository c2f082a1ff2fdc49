//! Several processes resume from the same checkpoint.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use ckpt::Error;
use ckpt::manager::{Exchange, Manager, ManagerOptions, ResumeOptions};

use super::{STATE, assert_is, change, file, run_of, save_all};

/// The environment variables that say to a process who it is.
const VARIABLES: [&str; 4] = ["CKPT_TEST_RANK", "CKPT_TEST_PORT", "CKPT_TEST_RUN", "CKPT_TEST_REQUIRED"];

/// How many processes there are.
const PROCESSES: usize = 4;

/// A connection to the hub, which is the test.
#[derive(Debug)]
struct Socket {
    rank: usize,
    stream: Mutex<TcpStream>,
}

fn send(mut stream: &TcpStream, message: &[u8]) -> io::Result<()> {
    stream.write_all(&u32::try_from(message.len()).unwrap().to_le_bytes())?;
    stream.write_all(message)
}

fn receive(mut stream: &TcpStream) -> io::Result<Vec<u8>> {
    let mut len = [0; 4];
    stream.read_exact(&mut len)?;
    let mut message = vec![0; u32::from_le_bytes(len) as usize];
    stream.read_exact(&mut message)?;
    Ok(message)
}

impl Socket {
    /// Gives the hub a message, and returns its answer when all have given one.
    fn ask(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let stream = self.stream.lock().unwrap();
        let answer = send(&stream, message).and_then(|()| receive(&stream));
        answer.map_err(|error| Error::io("hub", "talk to the others", error))
    }
}

impl Exchange for Socket {
    fn rank(&self) -> usize {
        self.rank
    }

    fn broadcast(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        self.ask(&[b"b", message].concat())
    }

    fn all_agree(&self, yes: bool) -> Result<bool, Error> {
        Ok(self.ask(&[b'a', u8::from(yes)])? == [1])
    }
}

/// Serves all processes until they hang up: each round takes one message of each.
fn serve(streams: &[TcpStream]) {
    loop {
        let messages: Vec<_> = streams.iter().map(receive).collect();
        if messages.iter().all(Result::is_err) {
            return;
        }
        let messages: Vec<Vec<u8>> =
            messages.into_iter().map(|message| message.expect("all take part")).collect();
        assert!(messages.iter().all(|message| message[0] == messages[0][0]), "they ask for different things");
        let answer = match messages[0][0] {
            b'b' => messages[0][1..].to_vec(),
            _ => vec![u8::from(messages.iter().all(|message| message[1] == 1))],
        };
        for stream in streams {
            send(stream, &answer).unwrap();
        }
    }
}

/// Starts a process of a rank, whose run is at that path.
fn start(rank: usize, port: u16, run: &Path, required: &str) -> Child {
    let values = [rank.to_string(), port.to_string(), run.to_str().unwrap().to_owned(), required.to_owned()];
    Command::new(std::env::current_exe().unwrap())
        .args(["manager::together::one_of_several", "--exact", "--ignored", "--nocapture"])
        .envs(VARIABLES.into_iter().zip(values))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Resumes in several processes, each with a run of its own path; returns what came of it, by rank.
fn resume_all(runs: [&Path; PROCESSES], required: &str) -> Vec<String> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let children: Vec<Child> =
        runs.iter().enumerate().map(|(rank, run)| start(rank, port, run, required)).collect();
    let mut streams: Vec<(u8, TcpStream)> = (0..PROCESSES)
        .map(|_| {
            let (stream, _) = listener.accept().unwrap();
            (receive(&stream).unwrap()[0], stream)
        })
        .collect();
    streams.sort_by_key(|(rank, _)| *rank);
    let streams: Vec<TcpStream> = streams.into_iter().map(|(_, stream)| stream).collect();
    serve(&streams);
    let outcome = |child: Child| {
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let (_, outcome) = text.split_once("outcome: ").unwrap_or_else(|| panic!("{text}"));
        outcome.lines().next().unwrap().to_owned()
    };
    children.into_iter().map(outcome).collect()
}

/// One of them.
#[test]
#[ignore = "it is the process that the tests beside it start"]
fn one_of_several() {
    let [rank, port, run, required] =
        VARIABLES.map(|name| std::env::var(name).expect("the tests beside it set it"));
    let stream = TcpStream::connect(("127.0.0.1", port.parse().unwrap())).unwrap();
    let rank: u8 = rank.parse().unwrap();
    send(&stream, &[rank]).unwrap();
    let exchange = Socket { rank: usize::from(rank), stream: Mutex::new(stream) };
    let manager = Manager::open(Path::new(&run), ManagerOptions::default()).unwrap();
    let options = ResumeOptions::default().with_required(required.parse().unwrap());
    let outcome = match manager.resume_together(&options, &exchange) {
        Ok(Some(resumed)) => {
            assert_is(&resumed, resumed.step());
            format!("{}, {} skipped", resumed.id, resumed.skipped.len())
        }
        Ok(None) => "nothing".to_owned(),
        Err(error) => format!("error {:?}: {error}", error.kind()),
    };
    println!("outcome: {outcome}");
}

#[test]
fn all_resume_from_what_the_first_finds() {
    let (_directory, manager) = run_of(&[100, 200, 300]);
    change(&file(&manager, 300, STATE), |bytes| bytes[5000] ^= 1);
    let outcomes = resume_all([manager.run().directory(); PROCESSES], "step");
    assert_eq!(outcomes, ["step-0000000200, 1 skipped"; PROCESSES]);
}

#[test]
fn none_resumes_where_one_cannot() {
    let (_directory, manager) = run_of(&[100, 200]);
    // One process sees another disk, on which the checkpoint isn't what it should be.
    let (_other, damaged) = run_of(&[100, 200]);
    change(&file(&damaged, 200, STATE), |bytes| bytes[5000] ^= 1);
    let good = manager.run().directory();
    let outcomes = resume_all([good, good, damaged.run().directory(), good], "step");
    for (rank, outcome) in outcomes.iter().enumerate() {
        let expected = if rank == 2 { "error Corrupted" } else { "another process of the job" };
        assert!(outcome.contains(expected), "{rank}: {outcome}");
    }
}

#[test]
fn a_checkpoint_that_is_good_and_another_is_not_taken() {
    let (_directory, manager) = run_of(&[100, 200]);
    let (_other, other) = run_of(&[100]);
    let mut state = super::state(7, ckpt::Dtype::F32);
    state.insert("step", 200).unwrap();
    other.save(200, &state).unwrap();
    let good = manager.run().directory();
    let outcomes = resume_all([good, other.run().directory(), good, good], "step");
    assert!(outcomes[1].contains("error Corrupted"), "{outcomes:?}");
    assert!(outcomes[0].contains("another process"), "{outcomes:?}");
}

#[test]
fn all_are_told_why_the_first_cannot() {
    let (_directory, manager) = run_of(&[100, 200]);
    let outcomes = resume_all([manager.run().directory(); PROCESSES], "optimizer.*");
    for outcome in outcomes {
        assert!(
            outcome.contains("error Incompatible") && outcome.contains("no older one is good"),
            "{outcome}"
        );
    }
}

#[test]
fn all_begin_where_nothing_was_saved() {
    let (directory, manager) = run_of(&[]);
    fs::create_dir(directory.path().join("empty")).unwrap();
    assert_eq!(resume_all([&directory.path().join("empty"); PROCESSES], "step"), ["nothing"; PROCESSES]);
    save_all(&manager, &[1]).unwrap();
}
