// @y/websocket-server as it comes, without persistence, on any free port. Prints its address.
import http from 'node:http'
import { WebSocketServer } from 'ws'
import { setupWSConnection } from '@y/websocket-server/utils'

const server = http.createServer((_, response) => response.end('ok'))
const sockets = new WebSocketServer({ noServer: true })
sockets.on('connection', setupWSConnection)
server.on('upgrade', (request, socket, head) => {
  sockets.handleUpgrade(request, socket, head, ws => sockets.emit('connection', ws, request))
})
server.listen(0, '127.0.0.1', () => console.log(`ws://127.0.0.1:${server.address().port}`))
