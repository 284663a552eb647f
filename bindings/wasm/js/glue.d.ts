/** The build of the module, where it is not built yet; and what is used of `ws`. */
declare module "*/aepoch_wasm.js" {
  type Glue = import("./engine.js").Glue;
  const init: Glue["default"];
  export default init;
  export const open: Glue["open"];
  export const onPanic: Glue["onPanic"];
}
declare module "ws" {
  export const WebSocket: typeof globalThis.WebSocket;
}
