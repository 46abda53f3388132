"""cell.py ADDRESS TOKEN SOURCE: runs the source in a new kernel of the user's
server at ADDRESS and prints what the kernel prints."""

import asyncio
import json
import sys
import urllib.request
import uuid

from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

address, token, source = sys.argv[1:]
headers = {"Authorization": "token " + token, "Content-Type": "application/json"}


def send(method, path, body=None):
    request = urllib.request.Request(address + path, method=method, data=body and json.dumps(body).encode(), headers=headers)
    with urllib.request.urlopen(request, timeout=180) as answer:
        return json.loads(answer.read() or "null")


async def main():
    kernel = send("POST", "/api/kernels", {"name": "python3"})["id"]
    socket = await websocket_connect(HTTPRequest(address.replace("http", "ws", 1) + f"/api/kernels/{kernel}/channels", headers=headers))
    message = uuid.uuid4().hex
    header = {"msg_id": message, "msg_type": "execute_request", "username": "test", "session": message, "version": "5.3"}
    content = {"code": source, "silent": False, "store_history": False, "allow_stdin": False}
    await socket.write_message(json.dumps({"channel": "shell", "header": header, "parent_header": {}, "metadata": {}, "content": content}))
    while True:
        answer = json.loads(await asyncio.wait_for(socket.read_message(), 180))
        if answer["parent_header"].get("msg_id") != message:
            continue
        if answer["msg_type"] == "stream":
            sys.stdout.write(answer["content"]["text"])
        if answer["msg_type"] == "error":
            sys.exit(answer["content"]["evalue"])
        if answer["msg_type"] == "status" and answer["content"]["execution_state"] == "idle":
            break
    send("DELETE", f"/api/kernels/{kernel}")


asyncio.run(main())
