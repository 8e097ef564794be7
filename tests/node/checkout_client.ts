// A checkout client on the types that openapi-typescript makes of /openapi.json: node checkout_client.js URL TOKEN

import createClient from "openapi-fetch";
import type { components, paths } from "./openapi.js";

type SessionState = components["schemas"]["SessionState"];
type ErrorCode = components["schemas"]["ErrorCode"];

declare const process: { argv: string[] };
const [baseUrl = "", token = ""] = process.argv.slice(2);
const client = createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${token}` } });

function answered<T>({ data, error }: { data?: T; error?: { error_code: ErrorCode } }): T {
  if (data === undefined) throw new Error(error?.error_code);
  return data;
}

// What may be left out of the body is left out.
const created = answered(
  await client.POST("/api/payments/sessions/", {
    params: { header: { "Idempotency-Key": crypto.randomUUID() } },
    body: {
      delivery_details: {
        full_name: "John Doe",
        phone_number: "0712345678",
        county_id: 1,
        subcounty_id: 5,
        detailed_address: "123 Main Street, Apartment 4B",
      },
    },
  }),
);
const params = { path: { session_id: created.session_id } };
const prompt = answered(await client.POST("/api/payments/sessions/{session_id}/initiate_payment/", { params }));
const status = answered(await client.GET("/api/payments/sessions/{session_id}/status/", { params }));
const wanted: SessionState = "payment_initiated";
const list = answered(await client.GET("/api/payments/sessions/", { params: { query: { status: wanted } } }));
const missing = await client.GET("/api/payments/sessions/{session_id}/", {
  params: { path: { session_id: crypto.randomUUID() } },
});

console.log(
  JSON.stringify({
    amount: created.total_amount satisfies string,
    prompt: prompt.status,
    status: status.session_status satisfies SessionState,
    receipt: status.receipt satisfies string | null,
    listed: list.results.map((session) => session.session_id),
    created: created.session_id,
    refused: missing.error?.error_code satisfies ErrorCode | undefined,
  }),
);
