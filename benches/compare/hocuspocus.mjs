// @hocuspocus/server as it comes, without persistence, on any free port. Prints its address.
import { Server } from '@hocuspocus/server'

const server = new Server({ port: 0, address: '127.0.0.1', quiet: true })
await server.listen()
console.log(`ws://127.0.0.1:${server.httpServer.address().port}`)
