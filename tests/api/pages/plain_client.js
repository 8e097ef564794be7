// 1. Create payment session
const createSession = async (deliveryDetails) => {
  const response = await fetch('/api/payments/sessions/', {
    method: 'POST',
    headers: {
      'Content-Type': 'application/json',
      'Authorization': `Bearer ${token}`
    },
    body: JSON.stringify({
      delivery_details: deliveryDetails,
      special_instructions: "Handle with care"
    })
  });
  return response.json();
};

// 2. Initiate payment
const initiatePayment = async (sessionId, phoneNumber) => {
  const response = await fetch(`/api/payments/sessions/${sessionId}/initiate_payment/`, {
    method: 'POST',
    headers: {
      'Content-Type': 'application/json',
      'Authorization': `Bearer ${token}`
    },
    body: JSON.stringify({ phone_number: phoneNumber })
  });
  return response.json();
};

// 3. Poll session status
const pollSessionStatus = async (sessionId) => {
  const response = await fetch(`/api/payments/sessions/${sessionId}/status/`, {
    headers: { 'Authorization': `Bearer ${token}` }
  });
  const data = await response.json();
  
  if (data.session_status === 'order_created') {
    // Redirect to order tracking
    window.location.href = `/orders/${data.order.order_id}`;
  } else if (data.session_status === 'failed') {
    // Show error message
    alert('Payment failed. Please try again.');
  }
  
  return data;
};

// Complete checkout flow
const checkout = async (deliveryDetails, phoneNumber) => {
  try {
    // 1. Create session
    const session = await createSession(deliveryDetails);
    
    // 2. Initiate payment
    const payment = await initiatePayment(session.session_id, phoneNumber);
    
    if (payment.status === 'success') {
      // 3. Poll for status updates
      const interval = setInterval(async () => {
        const status = await pollSessionStatus(session.session_id);
        
        if (status.session_status === 'order_created') {
          clearInterval(interval);
          // Redirect to success page
        } else if (status.session_status === 'failed') {
          clearInterval(interval);
          // Show error
        }
      }, 3000); // Poll every 3 seconds
      
      // Stop polling after 5 minutes
      setTimeout(() => clearInterval(interval), 300000);
    }
  } catch (error) {
    console.error('Checkout failed:', error);
  }
};
