/** Where Daftari is. `DAFTARI_CORS_ORIGINS` there has to name the origin of this page. */
export const API = "http://127.0.0.1:8000";
