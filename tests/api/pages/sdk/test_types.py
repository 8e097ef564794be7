"""What TypeScript, by --strict, says of the types in use, of the module, and of the one as a sketch of the other."""

import json
import shutil
from pathlib import Path

import pytest

from api.http.app import create_app
from api.local.local_settings import local_settings
from api.pages import sdk
from tests.api.pages.sdk.test_serving import no_services
from tests.support.node import run_tool

pytestmark = pytest.mark.system

FILES = Path(sdk.__file__).parent
OPTIONS = {
    "strict": True,
    "allowJs": True,
    "checkJs": True,
    "noEmit": True,
    "target": "es2022",
    "module": "es2022",
    "moduleResolution": "bundler",
    "lib": ["es2022", "dom", "dom.asynciterable"],
    "types": [],
}
USE = """
import { Daftari, DaftariError, type SessionStatus, type Status } from "./daftari.js";

const control = new AbortController();
const daftari = new Daftari({ url: "https://pay.shop.example", token: async (refused) => (refused ? "new" : "old") });
const shown: Status[] = [];

export const checkOut = async (phone: string): Promise<string> => {
  try {
    const session = await daftari.create(
      {
        delivery_details: {
          full_name: "John Doe",
          phone_number: phone,
          county_id: 1,
          subcounty_id: 5,
          detailed_address: "123 Main Street",
        },
        delivery_time_slot: "morning",
      },
      { signal: control.signal, key: "a-key" },
    );
    const total: string = session.total_amount;
    const prompt = await daftari.pay(session.session_id, { phone });
    const until: string = (await daftari.extend(session.session_id)).expires_at;
    const end: SessionStatus = await daftari.watch(session.session_id, {
      signal: control.signal,
      onChange: (status) => void shown.push(status.session_status),
      onProblem: ({ code, retryAfter }) => console.log(code, (retryAfter ?? 0) + 1),
    });
    return end.order?.order_number ?? end.reason?.message ?? `${total} ${prompt.customer_message} ${until}`;
  } catch (error) {
    if (!(error instanceof DaftariError)) throw error;
    return Object.entries(error.fields).map(([field, messages]) => `${field}: ${messages.join()}`).join() || error.code;
  }
};
"""
WRONG = """
import { Daftari } from "./daftari.js";

const daftari = new Daftari({ token: "a-token" });
// @ts-expect-error a token is needed
new Daftari({ url: "https://pay.shop.example" });
// @ts-expect-error no such slot
daftari.create({ delivery_details: {} as never, delivery_time_slot: "noon" });
// @ts-expect-error the phone has another name
daftari.pay("7", { phone_number: "0712345678" });
// @ts-expect-error no such status
daftari.watch("7", { onChange: (status) => status.session_status === "done" });
// @ts-expect-error an order may be missing
daftari.session("7").then((session) => session.order.order_id);
"""
CONFORMS = """
import * as made from "./implementation.js";
import type * as told from "./daftari.js";

export const Daftari: new (setup: told.Setup) => told.Daftari = made.Daftari;
export const Failure: new (code: string, message: string, details: told.ErrorDetails) => told.DaftariError =
  made.DaftariError;
export const names: Record<keyof typeof made, true> = { Daftari: true, DaftariError: true } satisfies Record<
  keyof typeof told,
  true
>;
"""


SERVED = """
import type * as told from "./daftari.js";
import type { components } from "./openapi.js";

type Served = components["schemas"];
export const answers = (session: Served["Session"], prompt: Served["Prompt"], extension: Served["Extension"]) => {
  const shown: told.Session = session;
  const sent: told.Prompt = prompt;
  const extended: told.Extension = extension;
  return [shown, sent, extended];
};
export const asked = (details: told.NewSession): Served["NewSession"] => details;
"""


def compile_strictly(folder: Path, files: dict[str, str]) -> str:
    """Return what tsc finds wrong with these files beside the types."""
    shutil.copy(FILES / "daftari.d.ts", folder)
    for name, text in files.items():
        (folder / name).write_text(text, "utf-8")
    config = {"compilerOptions": OPTIONS, "files": [*files, "daftari.d.ts"]}
    (folder / "tsconfig.json").write_text(json.dumps(config), "utf-8")
    return run_tool("tsc", "--project", "tsconfig.json", folder=folder, accept_failure=True)


def test_the_types_suit_their_use(tmp_path: Path) -> None:
    assert compile_strictly(tmp_path, {"use.ts": USE}) == ""


def test_the_types_refuse_what_is_wrong(tmp_path: Path) -> None:
    assert compile_strictly(tmp_path, {"wrong.ts": WRONG}) == ""


def test_the_module_is_as_its_types_say(tmp_path: Path) -> None:
    module = (FILES / "daftari.js").read_text("utf-8")
    assert compile_strictly(tmp_path, {"implementation.js": module, "conforms.ts": CONFORMS}) == ""
    broken = module.replace("this.status = status", "this.status = `${status}`")
    assert "conforms.ts" in compile_strictly(tmp_path, {"implementation.js": broken, "conforms.ts": CONFORMS})


def test_the_types_agree_with_the_document(tmp_path: Path) -> None:
    settings = local_settings({"DAFTARI_DATA_DIR": str(tmp_path)})
    document = create_app(settings, no_services).test_client().get("/openapi.json").data
    (tmp_path / "openapi.json").write_bytes(document)
    run_tool("openapi-typescript", "openapi.json", "--output", "openapi.ts", folder=tmp_path)
    openapi = (tmp_path / "openapi.ts").read_text("utf-8")
    assert compile_strictly(tmp_path, {"openapi.ts": openapi, "served.ts": SERVED}) == ""
