/** What every entry exports beside its `Agent`. */

export type { Waiting } from "./abort.js";
export type { AgentBase, AgentOptions, Lane, OwnState } from "./agent.js";
export { AgentState, Counter, Register, SharedList, SharedMap, SharedSet, SharedText } from "./content.js";
export { Barrier, CoordinationObject, Decision, Epoch, Passage, Poll } from "./coordination.js";
export type {
  BarrierSettings,
  ByTier,
  DecidingSettings,
  DecisionSettings,
  EpochSettings,
  PollSettings,
  Tier,
  TieredSettings,
} from "./coordination.js";
export { Document } from "./document.js";
export type { Names, Of, PresenceOf, Shape, Transaction } from "./document.js";
export {
  AbortedError,
  AepochError,
  BusyError,
  ClosedError,
  CredentialError,
  DocumentError,
  EncodeError,
  ForbiddenError,
  InternalError,
  InterruptedError,
  NameError,
  NameTakenError,
  NoAnswerError,
  NoOptionError,
  NodeError,
  OthersCredentialError,
  PanicError,
  QuotaExceededError,
  StorageUnavailableError,
  StoreError,
  TooManyAgentsError,
  TransportError,
  UnknownError,
  WrongPhaseError,
} from "./errors.js";
export type { ErrorCode } from "./errors.js";
export type { Value } from "./json.js";
export { Queue, Task } from "./queue.js";
export type { Pushing, QueueSettings } from "./queue.js";
export type { RawDone, RawStore, RawTask } from "./raw.js";
export { Hearing } from "./recovery.js";
export type * from "./report.js";
