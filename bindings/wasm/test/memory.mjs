// A module in memory, for tests of what carries calls to a module: it keeps registers and counters, and can fail.

/** What survives: the documents of all agents that open it. */
export class Disk {
  documents = new Map();
  /** Set to make writes wait for {@link Disk.keep}. */
  isSlow = false;
  #waiting = [];

  keep() {
    this.isSlow = false;
    for (const kept of this.#waiting.splice(0)) kept();
  }

  async written() {
    if (this.isSlow) await new Promise((kept) => this.#waiting.push(kept));
  }
}

const refuse = (code, message) => Object.assign(new Error(message), { code });

class MemoryDocument {
  constructor(agent, name) {
    this.agent = agent;
    this.name = name;
    this.values = structuredClone(agent.disk.documents.get(name) ?? {});
    this.isFree = false;
    agent.log.push(`open ${name}`);
  }

  id() {
    return `band/${this.name}`;
  }

  #change(path, value) {
    if (this.agent.busy > 0) {
      this.agent.busy--;
      throw refuse("Busy", "the document is being loaded");
    }
    this.agent.check();
    const { values } = this.agent.shared(this.name, this.values);
    values[path] = value;
    this.agent.write(this.name, values);
    for (const { prefix, heard } of this.agent.observers) {
      if (path.startsWith(prefix)) heard(JSON.stringify([{ path }]));
    }
  }

  #value(path) {
    this.agent.check();
    return this.agent.shared(this.name, this.values).values[path];
  }

  registerSet(name, value) {
    this.#change(`register/${name}`, value);
    this.agent.log.push(`set ${value}`);
  }

  registerGet(name) {
    return this.#value(`register/${name}`);
  }

  counterAdd(name, by) {
    this.agent.log.push(`add ${by}`);
    this.#change(`counter/${name}`, (this.#value(`counter/${name}`) ?? 0) + by);
  }

  counterGet(name) {
    return this.#value(`counter/${name}`) ?? 0;
  }

  transact(changes) {
    this.agent.log.push(`transact ${changes}`);
  }

  setPresence(state) {
    this.agent.log.push(`presence ${state}`);
  }

  observe(prefix, heard) {
    const observer = { prefix, heard };
    this.agent.observers.add(observer);
    return { stop: () => this.agent.observers.delete(observer) };
  }

  /** Waits for ever, unless given up. */
  flush(abort) {
    this.agent.log.push("flush");
    return new Promise((_, reject) => {
      const over = () => {
        this.agent.log.push("given up");
        reject(refuse("Aborted", "the wait was given up"));
      };
      abort?.then(over, over);
    });
  }

  async queue() {
    const { agent } = this;
    return {
      claim: async () => ({
        item: () => "1.1",
        token: () => 7,
        payload: () => '"tune"',
        isHeld: () => true,
        complete: async () => agent.log.push("complete"),
        free: () => agent.log.push("give back"),
      }),
      free() {},
    };
  }

  free() {
    this.isFree = true;
    this.agent.log.push(`free ${this.name}`);
  }
}

export class MemoryAgent {
  log = [];
  observers = new Set();
  listeners = new Set();
  busy = 0;
  #writing = Promise.resolve();
  #documents = new Map();

  constructor(disk, options, place) {
    this.disk = disk;
    this.options = options;
    this.place = place;
  }

  /** Documents opened twice are one. */
  shared(name, values) {
    if (!this.#documents.has(name)) this.#documents.set(name, { values });
    return this.#documents.get(name);
  }

  /** What is in memory goes to the disk in its own time. */
  write(name, values) {
    const kept = structuredClone(values);
    this.#writing = this.#writing
      .then(() => this.disk.written())
      .then(() => {
        if (!this.isDead) this.disk.documents.set(name, kept);
      });
  }

  check() {
    if (this.isDead) throw new WebAssembly.RuntimeError("unreachable");
  }

  name() {
    return this.options.name;
  }

  status() {
    return JSON.stringify({ online: this.isOnline ?? true });
  }

  async document(name) {
    if (name === "bad name") throw refuse("Name", "a bad name");
    return new MemoryDocument(this, name);
  }

  async swarm() {
    return new MemoryDocument(this, "_swarm");
  }

  setOnline(online) {
    this.isOnline = online;
  }

  events(heard) {
    this.listeners.add(heard);
    return { stop: () => this.listeners.delete(heard) };
  }

  say(event, body) {
    for (const heard of this.listeners) heard(JSON.stringify(event), body);
  }

  persisted() {
    return this.#writing;
  }

  renew(token) {
    this.log.push(`renew ${token}`);
  }

  async close() {
    await this.#writing;
    this.log.push("close");
    this.isClosed = true;
  }
}

/** Where such agents run. */
export class MemoryPlace {
  agents = [];
  isClosed = false;
  #heard = new Set();
  #disk;

  constructor(disk) {
    this.#disk = disk;
  }

  get agent() {
    return this.agents.at(-1);
  }

  async open(options) {
    if (this.fault) throw this.fault;
    const agent = new MemoryAgent(this.#disk, structuredClone(options), this);
    this.agents.push(agent);
    if (this.panics-- > 0) setTimeout(() => this.trapped("again"));
    return agent;
  }

  onPanic(heard) {
    this.#heard.add(heard);
    return () => this.#heard.delete(heard);
  }

  trapped(reason) {
    this.agent.isDead = true;
    for (const heard of [...this.#heard]) heard(reason);
  }

  close() {
    this.isClosed = true;
  }
}

/** Waits until something holds, looking at each turn of the event loop. */
export async function until(holds) {
  while (!(await holds())) await new Promise((again) => setImmediate(again));
}

/** Lets everything under way go on. */
export async function settle() {
  for (let turn = 0; turn < 20; turn++) await new Promise((again) => setImmediate(again));
}
