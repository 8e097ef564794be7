/** The types of daftari.js. Amounts are shillings, moments RFC 3339 in UTC. Answers may have more keys than these. */

export type Status = "pending" | "payment_initiated" | "paid" | "failed" | "expired" | "order_created";

export interface Setup {
  /** Where the API is, such as `https://pay.shop.example`; by default the origin that this module came from. */
  url?: string;
  /**
   * A buyer's token, a payment link (`pl_…`), or a function that returns one. The function is asked before each request,
   * and once more with the token that was refused (401), so that it can get a new one.
   */
  token: string | ((refused?: string) => string | Promise<string>);
}

export interface Options {
  /** Ends what is under way; its reason is what is thrown. */
  signal?: AbortSignal;
}

export interface CommandOptions extends Options {
  /** The Idempotency-Key. By default each call has one of its own, which all its tries share. */
  key?: string;
}

export interface PayOptions extends CommandOptions {
  /** The phone to prompt, in place of the session's. */
  phone?: string;
}

export interface RequestOptions extends CommandOptions {
  /** What is sent as JSON. */
  body?: unknown;
}

export interface WatchOptions extends Options {
  /** Called with the status at the start and after each change; what it throws ends the watch. */
  onChange?: (status: SessionStatus) => void | Promise<void>;
  /** Called when a way of watching fails, before the next try. A page may say that it is connecting again. */
  onProblem?: (problem: DaftariError) => void;
}

export interface NewSession {
  delivery_details: {
    full_name: string;
    phone_number: string;
    county_id: number;
    subcounty_id: number;
    detailed_address: string;
  };
  special_instructions?: string | null;
  delivery_time_slot?: "morning" | "afternoon" | "evening" | null;
  /** A day, such as `2026-11-27`. */
  estimated_delivery_date?: string | null;
}

export interface Order {
  /** Null where the shop gives its orders no number of ours. */
  order_id: number | null;
  order_number: string;
  order_status: string;
  payment_status: string;
}

export interface SessionStatus {
  session_id: string;
  session_status: Status;
  order: Order | null;
  expires_at: string;
  created_at: string;
  version: number;
  receipt: string | null;
  refunded: string;
  refund_status: "due" | "partly_refunded" | "refunded" | null;
  reason: { code: string; message: string } | null;
  can_retry: boolean;
  /** Whole seconds until another attempt makes sense; null if none can succeed. */
  retry_after: number | null;
  in_doubt: boolean;
  next_check_at: string | null;
  resolve_by: string | null;
  paused: string | null;
}

export interface CartItem {
  cart_item_id: number | null;
  listing_id: number | null;
  product_name: string;
  farm_name: string;
  quantity: number;
  price_at_addition: number;
  subtotal: number;
  unit_of_measure: string;
}

/** All null for who has a payment link alone, and where nothing is delivered. */
export interface DeliveryDetails {
  full_name: string | null;
  phone_number: string | null;
  county_id: number | null;
  subcounty_id: number | null;
  detailed_address: string | null;
  special_instructions: string | null;
  delivery_time_slot: string | null;
  estimated_delivery_date: string | null;
}

export interface Session extends SessionStatus {
  user: number;
  cart_snapshot: {
    items: CartItem[];
    total_items: number;
    total_cost: number;
    rounding: number;
    created_at: string;
  };
  delivery_details: DeliveryDetails;
  total_amount: string;
  delivery_fee: string;
  phone_number: string | null;
}

export interface Prompt {
  status: string;
  message: string;
  session_id: string;
  transaction_id: number;
  /** Null if M-Pesa's answer was lost: a prompt may be on the phone all the same. */
  checkout_request_id: string | null;
  customer_message: string;
}

export interface Extension {
  status: string;
  message: string;
  expires_at: string;
}

export interface ErrorDetails {
  status?: number;
  fields?: Record<string, string[]>;
  retryAfter?: number | null;
  cause?: unknown;
}

export class DaftariError extends Error {
  constructor(code: string, message: string, details: ErrorDetails);
  /** A code of docs/errors.md, `NETWORK` where no answer came, or `HTTP_502` and the like where it was not Daftari's. */
  readonly code: string;
  /** The HTTP status; 0 without an answer. */
  readonly status: number;
  /** What is wrong with which field, a nested one named with dots. */
  readonly fields: Record<string, string[]>;
  /** Seconds after which the same request may succeed. */
  readonly retryAfter: number | null;
}

/** All methods throw a DaftariError, or the reason of their signal. */
export class Daftari {
  constructor(setup: Setup);
  /** Create a session for the buyer's cart. */
  create(details: NewSession, options?: CommandOptions): Promise<Session>;
  /** Send the prompt to the buyer's phone. */
  pay(sessionId: string, options?: PayOptions): Promise<Prompt>;
  /** Give the buyer more time. */
  extend(sessionId: string, options?: CommandOptions): Promise<Extension>;
  /** Show a session. */
  session(sessionId: string, options?: Options): Promise<Session>;
  /**
   * Follow a session, over lost connections too, until it is `order_created`, `failed` or `expired`; return that status.
   */
  watch(sessionId: string, options?: WatchOptions): Promise<SessionStatus>;
  /** Send any other request, such as `GET /api/catalogue/`, with token and tries like those of the rest. */
  request(method: string, path: string, options?: RequestOptions): Promise<any>;
}
