// A swarm with something to see in every view: who waits for whom, work in a queue, values written at the same time.

import { Agent } from "aepoch";
import { Agent as Historian } from "aepoch/automerge";

const ALPHAS = ["alpha-1", "alpha-2"];
const GAMMAS = ["gamma-1", "gamma-2", "gamma-3"];
const ALL = [...ALPHAS, ...GAMMAS];

/** Opens the agents and does their part; `names` further members only join. */
export async function band(address, names = []) {
  const open = (name) => Agent.open({ name, swarm: "band", connect: address });
  const agents = new Map();
  for (const name of ALL) agents.set(name, await open(name));
  const crowd = [];
  for (const name of names) crowd.push(await open(name));
  await Promise.all([...agents.values(), ...crowd].map((agent, index) => agent.state.set("job", ["idle", "tuning", "playing"][index % 3])));
  const stages = new Map();
  for (const [name, agent] of agents) {
    stages.set(name, await agent.document("stage"));
    await stages.get(name).setPresence({ at: name.length });
  }
  const [first, second] = [stages.get("alpha-1"), stages.get("alpha-2")];

  await first.register("setlist").set(["intro", "song", "outro"]);
  await first.counter("takes").add(3);
  await first.map("lights").put("left", { colour: "red", level: 0.8 });
  await first.map("lights").put("right", "off");
  await first.list("songs").push("one");
  await first.list("songs").push("two");
  await first.text("notes").insert(0, "soft start, loud end");
  await first.flush();

  // Written at the same time: each before it hears the other.
  await Promise.all([agents.get("alpha-1").setOnline(false), agents.get("alpha-2").setOnline(false)]);
  await first.register("key").set("A minor");
  await second.register("key").set("C major");
  await Promise.all([agents.get("alpha-1").setOnline(true), agents.get("alpha-2").setOnline(true)]);
  await Promise.all([first.flush(), second.flush()]);

  // With a past: a document on the other engine.
  const arranger = await Historian.open({ name: "arranger", swarm: "band", connect: address, engine: "automerge" });
  const score = await arranger.document("variations");
  for (const bar of ["one", "two", "three"]) await score.map("bars").put(bar, bar.length);
  await score.map("bars").remove("two");
  await score.flush();

  const members = { alpha: ALPHAS, gamma: GAMMAS };
  const everybody = (make) => Promise.all([...stages.values()].map(make));
  // Two do not come: the others wait, and are told why.
  const curtain = await everybody((stage) => stage.barrier("curtain", { members }));
  await curtain[0].arriveNow();
  await curtain[2].arriveNow();
  const epochs = await everybody((stage) => stage.epoch("set", { members: ALL, phases: ["play", "pause"] }));
  await Promise.all(epochs.map((epoch) => epoch.finish("play")));
  const decision = await first.decision("tempo", { members: ALPHAS });
  await decision.propose(120);

  const queue = await first.queue("cues", { members: ALL, attempts: 1 });
  for (let cue = 1; cue <= 12; cue += 1) await queue.push({ cue }, { tier: cue % 3, deadline: new Date(Date.now() + cue * 60_000) });
  const worker = await stages.get("gamma-1").queue("cues", { members: ALL, attempts: 1 });
  const failed = await worker.claim();
  await failed.fail("the cable is broken");
  const held = await worker.claim();
  await first.flush();

  // What is over is cleaned up soon: this happens when somebody looks.
  const perform = async () => {
    const barriers = await everybody((stage) => stage.barrier("soundcheck", { members }));
    await Promise.all(barriers.map((barrier) => barrier.arrive()));
    const polls = await everybody((stage) => stage.poll("encore", { members: ALL, options: ["yes", "no"] }));
    await Promise.all(polls.map((poll, index) => poll.vote(index === 4 ? "no" : "yes")));
    await polls[0].decided();
  };

  return {
    agents,
    perform,
    stages,
    held,
    score,
    close: async () => {
      // Or its lease would be renewed, and keep this process up.
      await held[Symbol.asyncDispose]();
      await Promise.all([...agents.values(), ...crowd, arranger].map((agent) => agent.close()));
    },
  };
}
