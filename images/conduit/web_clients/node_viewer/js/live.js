// The live connection: keeps a WebSocket open, comes back when it breaks.

import { address } from "./api.js";

const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 15000;

/**
 * Connect and stay connected.
 *
 * onMessage gets each message, parsed; the first after every connection describes the whole state.
 * onStatus gets "connecting", "live" or "offline".
 */
export function connect({ onMessage, onStatus }) {
  let delay = FIRST_DELAY_MS;
  let timer = null;

  function open() {
    timer = null;
    const url = address("websocket");
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(url);
    socket.onmessage = (event) => {
      delay = FIRST_DELAY_MS;
      onStatus("live");
      onMessage(JSON.parse(event.data));
    };
    socket.onclose = () => {
      onStatus("offline");
      // Spread out, so that many pages don't return at the same moment.
      timer = setTimeout(open, delay * (0.75 + Math.random() / 2));
      delay = Math.min(delay * 2, LONGEST_DELAY_MS);
    };
  }

  // Someone who looks at the page again should not wait for the delay.
  function hurry() {
    if (timer !== null && document.visibilityState === "visible") {
      clearTimeout(timer);
      open();
    }
  }
  window.addEventListener("online", hurry);
  document.addEventListener("visibilitychange", hurry);
  onStatus("connecting");
  open();
}
