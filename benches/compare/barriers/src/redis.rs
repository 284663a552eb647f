//! Redis: a counter for the arrivals and a channel for the release, over plain RESP3, which lets one connection both
//! write and be subscribed. `INCR` and the `PUBLISH` of whoever is last are one script: one round trip, not two.

use std::pin::Pin;

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
};

use crate::rounds::Member;

const CHANNEL: &str = "flash";
const ARRIVE: &str = "local arrived = redis.call('INCR', KEYS[1]) \
    if arrived == tonumber(ARGV[1]) then redis.call('PUBLISH', ARGV[2], ARGV[3]) end return arrived";

#[derive(Debug, PartialEq, Eq)]
enum Reply {
    Text(String),
    Number(i64),
    List(Vec<Self>),
    /// Not an answer: what came of a subscription.
    Push(Vec<Self>),
}

pub(crate) struct Redis {
    stream: BufReader<TcpStream>,
    members: String,
    script: String,
    /// The last round released.
    released: Option<u64>,
}

pub(crate) async fn members(address: &str, count: usize) -> Vec<Redis> {
    let mut members = Vec::new();
    for _ in 0..count {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let stream = BufReader::new(stream);
        let mut member = Redis { stream, members: count.to_string(), script: String::new(), released: None };
        member.ask(&["HELLO", "3"]).await;
        let Reply::Text(script) = member.ask(&["SCRIPT", "LOAD", ARRIVE]).await else { panic!("no hash of a script") };
        member.script = script;
        member.send(&["SUBSCRIBE", CHANNEL]).await;
        // Confirmed as what it will bring.
        let Reply::Push(_) = member.read().await else { panic!("not subscribed") };
        members.push(member);
    }
    members
}

impl Redis {
    async fn send(&mut self, command: &[&str]) {
        let mut request = format!("*{}\r\n", command.len());
        for word in command {
            request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        self.stream.write_all(request.as_bytes()).await.unwrap();
    }

    async fn ask(&mut self, command: &[&str]) -> Reply {
        self.send(command).await;
        loop {
            match self.read().await {
                Reply::Push(pushed) => self.take(&pushed),
                reply => return reply,
            }
        }
    }

    fn take(&mut self, pushed: &[Reply]) {
        if let [Reply::Text(kind), _, Reply::Text(round)] = pushed
            && kind == "message"
        {
            self.released = Some(round.parse().unwrap());
        }
    }

    fn read(&mut self) -> Pin<Box<dyn Future<Output = Reply> + Send + '_>> {
        Box::pin(async move {
            let mut line = String::new();
            self.stream.read_line(&mut line).await.unwrap();
            let (kind, rest) = line.trim_end().split_at(1);
            match kind {
                "+" => Reply::Text(rest.to_owned()),
                ":" => Reply::Number(rest.parse().unwrap()),
                "$" => {
                    let mut bytes = vec![0; rest.parse::<usize>().unwrap() + 2];
                    self.stream.read_exact(&mut bytes).await.unwrap();
                    bytes.truncate(bytes.len() - 2);
                    Reply::Text(String::from_utf8(bytes).unwrap())
                }
                "*" => Reply::List(self.list(rest.parse().unwrap()).await),
                ">" => Reply::Push(self.list(rest.parse().unwrap()).await),
                "%" => Reply::List(self.list(2 * rest.parse::<usize>().unwrap()).await),
                _ => panic!("redis says {line:?}"),
            }
        })
    }

    async fn list(&mut self, count: usize) -> Vec<Reply> {
        let mut list = Vec::new();
        for _ in 0..count {
            list.push(self.read().await);
        }
        list
    }
}

impl Member for Redis {
    async fn arrive(&mut self, round: u64) {
        let (round, script, members) = (round.to_string(), self.script.clone(), self.members.clone());
        let key = format!("flash/{round}");
        let reply = self.ask(&["EVALSHA", &script, "1", &key, &members, CHANNEL, &round]).await;
        assert!(matches!(reply, Reply::Number(_)), "{reply:?}");
    }

    async fn released(&mut self, round: u64) {
        while self.released != Some(round) {
            let Reply::Push(pushed) = self.read().await else { panic!("an answer without a question") };
            self.take(&pushed);
        }
    }
}
