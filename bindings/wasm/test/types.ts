// What the types promise: compiled, not run. Each `@ts-expect-error` fails when the error is not there.

import { Agent, type Document, type Value } from "aepoch";
import { useBarrier, usePresence, useRegister } from "aepoch/react";

interface Stage {
  registers: { setlist: string[] };
  maps: { lights: "red" | "blue" };
  queues: { jobs: { song: number } };
  presence: { cursor: number };
}

export async function typed(agent: Agent): Promise<void> {
  const stage = await agent.document<Stage>("stage");
  const setlist: string[] | undefined = await stage.register("setlist").get();
  await stage.map("lights").put("left", "red");
  // @ts-expect-error: no such light.
  await stage.map("lights").put("left", "green");
  // @ts-expect-error: a list of strings.
  await stage.register("setlist").set(1);
  // Names outside the shape are of any type, or of one's own.
  const other: Value | undefined = await stage.register("other").get();
  const own: number | undefined = await stage.register<number>("own").get();
  await stage.transact((tx) => {
    tx.map("lights").put("left", "blue");
    // @ts-expect-error: no such light.
    tx.map("lights").put("left", "green");
    // @ts-expect-error: nothing is read in a transaction.
    tx.map("lights").get("left");
  });
  await stage.setPresence({ cursor: 1 });
  // @ts-expect-error: a number.
  await stage.setPresence({ cursor: "1" });
  await using task = await (await stage.queue("jobs")).claim();
  const song: number = task.payload.song;
  for await (const { patches, missed } of stage.observe()) if (missed) console.log(patches);
  for await (const event of agent.events()) {
    if (event.kind === "message") console.log(event.body.byteLength);
    // @ts-expect-error: only messages have bytes.
    else console.log(event.body);
  }
  console.log(setlist, other, own, song);
}

export function Setlist({ stage }: { stage: Document<Stage> }): unknown {
  const [songs, setSongs] = useRegister(stage, "setlist");
  void setSongs([...(songs ?? []), "outro"]);
  // @ts-expect-error: a list of strings.
  void setSongs(1);
  const [count] = useRegister<number>(stage, "count");
  const [present] = usePresence(undefined, stage);
  const cursor: number | undefined = present[0]?.state.cursor;
  useBarrier(stage, "flash", { members: { alpha: [String(count)], 3: [String(cursor)] } });
  return songs;
}
